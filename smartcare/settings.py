"""Settings of the processes, from the environment; each has a default that is safe on one machine.

One decision: what a person would type on a command line is an argument there; what a process manager sets is here.
"""

import json
import os
from pathlib import Path
from typing import Any

from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Environment of every command. `smartcare up` fills it for the processes it starts."""

    model_config = SettingsConfigDict(env_prefix="SMARTCARE_", populate_by_name=True, extra="ignore")

    state: Path = Path("var")
    """Folder for data, logs and generated secrets of `smartcare up`."""

    database_url: str = Field(default="", alias="DATABASE_URL")
    """PostgreSQL 15+ or TimescaleDB. Empty: the embedded server."""

    api_database_url: str = Field(default="", alias="API_DATABASE_URL")
    """The same database as the role smartcare_api, whom row-level security holds. Empty: the embedded server's own login, or
    DATABASE_URL, stepping down in each transaction (docs/operation.md)."""

    mqtt_url: str = Field(default="", alias="MQTT_URL")
    """Broker of the uplink, mqtt://user:password@host:port. Empty: the embedded broker."""

    mqtt_ca: Path | None = None
    """PEM file of the authority that signed the certificates of brokers named with mqtts://. Empty: those of the system."""

    metrics_port: int = 0
    """Loopback port on which the worker shows its own figures to Prometheus. 0: none."""

    bus_url: str = ""
    """Broker that the devices of a gateway speak to. Empty: the embedded broker's device bus."""

    host: str = "127.0.0.1"
    """Address the page listens on. Anything but loopback belongs behind a proxy that speaks https."""

    port: int = 8780
    """Port of the page; the next free one is taken when it is in use."""

    public_url: str = ""
    """Address under which people reach the page, in links. Empty: http://host:port. With https, cookies are Secure."""

    outgoing: list[str] = []
    """Where deliveries may go, "host:port" or "CIDR:port" (JSON list). Empty: nowhere."""

    country: str = "CN"
    """ISO 3166 code of the country whose public holidays hold; local exceptions are entered with `smartcare calendar`."""

    name_key: Path | None = None
    """File of the key that names of persons are encrypted with, the same for every api process. Empty: name.key in `state`."""

    lost_after_s: float = 60
    """A gateway is lost after this silence (s). Shorter finds cut lines sooner and forgives less."""

    keep_days: dict[str, int] = {}
    """How long what is kept, in days, where it is not the default (JSON, {"passage": 180}); names in docs/storage.md."""


RUN_FILE = "run.json"
IMPATIENT = {
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "25000",
    "options": "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3 -c tcp_user_timeout=25000"
    " -c client_connection_check_interval=2000 -c idle_in_transaction_session_timeout=20000",
}
"""Of PostgreSQL's connections; seconds, but for the milliseconds of tcp_user_timeout."""


def load() -> Settings:
    """Read the environment, and what a running `smartcare up` in the same state folder has put down."""
    settings = Settings()
    file = settings.state / RUN_FILE
    if file.exists():
        running: dict[str, Any] = json.loads(file.read_text())
        settings = Settings(**(running | settings.model_dump(exclude_unset=True)))
    urls = {"database_url": impatient(settings.database_url), "api_database_url": impatient(settings.api_database_url)}
    return settings.model_copy(update=urls)


def impatient(database_url: str) -> str:
    """Let both ends of every connection notice within half a minute that the other one is gone without a word.

    Without it a worker waits for an answer that was lost, and the server keeps its locks, for the two hours of TCP. What
    the address says itself stays.
    """
    if not database_url:
        return ""
    return make_conninfo("", **{**IMPATIENT, **conninfo_to_dict(database_url)})


def write_run(state: Path, values: dict[str, Any]) -> None:
    """Put down how to reach the servers of this run (mode 0600: it holds passwords)."""
    fresh = state / f".{RUN_FILE}"
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as f:
        json.dump(values, f, indent=1)
    fresh.replace(state / RUN_FILE)
