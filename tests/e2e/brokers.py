"""Mosquitto as the second broker of the end-to-end tests, configured as a deployment would: credentials and topics."""

import secrets
import shutil
import signal
import subprocess
from pathlib import Path

from smartcare.embedded import process
from smartcare.embedded.nats import DEVICE_BUS, WORKER


class Mosquitto:
    """One Mosquitto in `folder` with the same face as `smartcare.embedded.nats.Broker`. limits: "" for its defaults."""

    def __init__(self, folder: Path, limits: str = "max_queued_messages 100000\nmax_inflight_messages 200\n") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.port, self.log = folder, process.free_port(), folder / "mosquitto.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.limits = limits
        self._secrets: dict[str, str] = {WORKER: secrets.token_urlsafe(32), DEVICE_BUS: secrets.token_urlsafe(32)}
        self._shards: dict[str, int] = {}

    @staticmethod
    def program() -> str | None:
        """Return where Mosquitto is installed, if it is."""
        return shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto")

    def url(self, user: str) -> str:
        """Return an mqtt:// address with credentials."""
        return f"mqtt://{user}:{self._secrets[user]}@127.0.0.1:{self.port}"

    def add_gateway(self, code: str, shard: int) -> str:
        """Provision a gateway before the start."""
        self._shards[code] = shard
        return self._secrets.setdefault(code, secrets.token_urlsafe(32))

    def adopt(self, user: str, secret: str) -> None:
        """Know a user by the secret that another broker has given out; before the start."""
        self._secrets[user] = secret

    def start(self) -> None:
        """Write the configuration, start, wait until it accepts connections."""
        acl = [f"user {WORKER}", "topic read care/v1/+/+/up", "topic write care/v1/+/+/down"]
        for code, shard in self._shards.items():
            acl += [f"user {code}", f"topic write care/v1/{shard}/{code}/up", f"topic read care/v1/{shard}/{code}/down"]
        acl += [f"user {DEVICE_BUS}", "topic readwrite zigbee2mqtt/#", "topic readwrite application/#", "topic readwrite mqtt/#"]
        (self.folder / "acl").write_text("\n".join(acl) + "\n")
        passwords = self.folder / "passwords"
        passwords.write_text("".join(f"{user}:{secret}\n" for user, secret in self._secrets.items()))
        passwords.chmod(0o600)
        subprocess.run(["mosquitto_passwd", "-U", str(passwords)], check=True, capture_output=True)
        config = self.folder / "mosquitto.conf"
        config.write_text(
            f"listener {self.port} 127.0.0.1\nuser root\nallow_anonymous false\npassword_file {passwords}\n"
            f"acl_file {self.folder / 'acl'}\n{self.limits}"
        )
        program = self.program()
        assert program is not None
        self.process = process.spawn([program, "-c", str(config)], log=self.log, on_parent_death=signal.SIGTERM)
        process.wait_ready(self.process, lambda: process.accepts(self.port), what="Mosquitto", log=self.log)

    def stop(self) -> None:
        """End it."""
        if self.process:
            process.stop(self.process, signal.SIGTERM, 2)
            self.process = None
