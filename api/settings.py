"""What the application must be told to start."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """Where the data is and under which name people reach the page."""

    database_url: str
    """PostgreSQL connection string of the owner of the tables; jobs of the process use it, requests do not."""
    api_database_url: str = ""
    """The same database as the role smartcare_api, for requests. Empty: as the owner, who steps down in each transaction."""
    public_url: str
    """What stands in people's address bar, e.g. "http://127.0.0.1:8080"; unsafe requests must come from this origin."""
    allowed_hosts: Sequence[str] = ("127.0.0.1", "localhost")
    """Host headers that are answered; anything else gets 400."""
    country: str = "CN"
    """ISO 3166 code of the country whose public holidays the calendar shows."""
    name_key: Path | None = None
    """File of the key that names of persons are encrypted with, made at the first start; None: no names are kept."""
    secure_cookies: bool = False
    """True wherever the page is served over https: `__Host-` cookies with Secure."""

    @property
    def requests_url(self) -> str:
        """Connection string of what serves requests."""
        return self.api_database_url or self.database_url

    @property
    def origin(self) -> str:
        """Scheme, host and port of the public address, as browsers write Origin."""
        parts = urlsplit(self.public_url)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def session_cookie(self) -> str:
        """Name of the session cookie."""
        return "__Host-session" if self.secure_cookies else "session"
