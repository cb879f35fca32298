"""Serves the application with uvicorn.

One decision: open streams are told to end the moment a signal arrives, so that stopping takes no longer than a request; and the
signal is not raised once more when all have ended, so that what runs beside the server is stopped once, and in order.
"""

import gc
import signal
from types import FrameType

import uvicorn

from api.app import create_app
from api.console import Console
from api.settings import ApiSettings

GRACE_S = 2


class Server(uvicorn.Server):
    """uvicorn that ends the live streams before it waits for requests to finish."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Ask everything to stop; a second Ctrl-C waits for nothing."""
        self.end_streams()
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True

    def end_streams(self) -> None:
        """Close the live hub; pages reconnect elsewhere or later."""
        state: Console = self.config.app.state.console  # type: ignore[union-attr]
        state.hub.close()


def server(settings: ApiSettings, host: str, port: int) -> Server:
    """Return a server that has not started; `await serve()` or `run()` it."""
    return Server(
        uvicorn.Config(
            create_app(settings),
            host=host,
            port=port,
            timeout_graceful_shutdown=GRACE_S,
            server_header=False,
            proxy_headers=False,
            access_log=False,
            log_config=None,
            ws="none",
        )
    )


def settle() -> None:
    """Leave what is loaded by now out of garbage collection: looking through all of it stops every page for a fifth of a second.

    For a process that serves until it ends.
    """
    gc.collect()
    gc.freeze()
