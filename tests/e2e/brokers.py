"""Mosquitto as the second broker of the tests, with the configuration that is shipped for it."""

import shutil
import signal
import subprocess
from pathlib import Path

from smartcare import broker_files
from smartcare.broker import DEVICE_BUS, WORKER, Folder, Given, Kind, State, User, stored
from smartcare.embedded import process


class Mosquitto:
    """One Mosquitto in `folder` with the same face as `smartcare.embedded.nats.Broker`. limits: "" for its defaults.

    declared: kind, listener and so on, where it is not to be the bus and the uplink of one machine.
    """

    def __init__(self, folder: Path, limits: str = broker_files.MOSQUITTO_LIMITS, declared: State | None = None) -> None:
        self.credentials = Folder(folder)
        self.folder, self.log = self.credentials.path, folder / "mosquitto.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.limits = limits
        state = declared or State(kind=Kind.MOSQUITTO, port=process.free_port(), users={})
        self.given: dict[str, Given] = self.credentials.create(state)
        self.port = state.port

    @staticmethod
    def program() -> str | None:
        """Return where Mosquitto is installed, if it is."""
        return shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto")

    def url(self, user: str) -> str:
        """Return an mqtt:// address with credentials."""
        return self.given[user].url

    def add_gateway(self, code: str, shard: int) -> str:
        """Provision a gateway before the start, or have it known by the secret that another broker has given out."""
        if code not in self.given:
            self.given[code] = self.credentials.add(code, shard)
        else:
            self._set(code, User(password="", gateway=code, shard=shard))
        return self.given[code].secret

    def adopt(self, user: str, secret: str) -> None:
        """Know a user by the secret that another broker has given out; before the start, and before `add_gateway`."""
        self.given[user] = Given(user=user, secret=secret, url=self.credentials.state().url(user, secret))
        if user in (WORKER, DEVICE_BUS):
            self._set(user, User(password=""))

    def _set(self, name: str, user: User) -> None:
        with self.credentials.change() as state:
            user.password = stored(state.kind, self.given[name].secret)
            state.users[name] = user

    def start(self) -> None:
        """Write the configuration, start, wait until it accepts connections."""
        broker_files.write(self.folder, self.credentials.state(), self.limits)
        program = self.program()
        assert program is not None
        config = str(self.folder / "mosquitto.conf")
        self.process = process.spawn([program, "-c", config], log=self.log, on_parent_death=signal.SIGTERM)
        process.wait_ready(self.process, lambda: process.accepts(self.port), what="Mosquitto", log=self.log)

    def stop(self) -> None:
        """End it."""
        if self.process:
            process.stop(self.process, signal.SIGTERM, 2)
            self.process = None
