"""A real HTTP server for a test, on loopback, in a thread of its own."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn


@contextmanager
def serving(app: Any, *, tls: tuple[Path, Path] | None = None, host: str = "127.0.0.1") -> Iterator[int]:
    """Serve an ASGI application and yield its port. tls: (certificate, key)."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listening:
        listening.bind((host, 0))
        listening.listen(64)
        certificate, key = (str(tls[0]), str(tls[1])) if tls else (None, None)
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_level="error",
                ws="none",
                lifespan="off",
                timeout_graceful_shutdown=1,
                ssl_certfile=certificate,
                ssl_keyfile=key,
                ssl_version=ssl.PROTOCOL_TLS_SERVER,
            )
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()  # the socket listens already: a caller that is early waits in its backlog
        try:
            yield int(listening.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(10)
