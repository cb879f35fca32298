"""Style, scripts and icons: open to all, because the sign-in page needs them."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.access import OPEN
from api.console import console
from api.errors import NotFound
from api.web.assets import TYPES

router = APIRouter(include_in_schema=False)


@router.get("/static/{digest}/{name}", dependencies=OPEN)
async def static(request: Request, digest: str, name: str) -> Response:
    """A file of the page; its address changes with its content, so it is kept for good."""
    assets = console(request).assets
    if digest != assets.digest or name not in assets.files:
        raise NotFound("there is no such file")
    kind = TYPES[name.rsplit(".", 1)[-1]]
    return Response(assets.files[name], media_type=kind, headers={"cache-control": "public, max-age=31536000, immutable"})
