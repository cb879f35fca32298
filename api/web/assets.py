"""The page's own style, scripts and icons, read once; nothing comes from elsewhere.

One decision: they live under the hash of the whole folder and never change there, so browsers keep them for good and
modules that import each other relatively always fit together.
"""

import hashlib
from dataclasses import dataclass
from importlib import resources

TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Assets:
    """Files by name, and the hash they are served under."""

    digest: str
    files: dict[str, bytes]

    def url(self, name: str) -> str:
        """Return the address of a file. Raises KeyError for one that does not exist."""
        if name not in self.files:
            raise KeyError(name)
        return f"/static/{self.digest}/{name}"


def load() -> Assets:
    """Read the package's static folder."""
    folder = resources.files("api.web") / "static"
    files = {f.name: f.read_bytes() for f in folder.iterdir() if f.name.rsplit(".", 1)[-1] in TYPES}
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(name.encode() + b"\0" + files[name] + b"\0")
    return Assets(digest=digest.hexdigest()[:16], files=files)
