"""The `api` process: page, REST and live stream in one server, delivery and data periods beside it."""

import asyncio
from urllib.parse import urlsplit

from api import data, delivery
from api.serve import server
from api.settings import ApiSettings
from smartcare.settings import Settings


async def run(settings: Settings) -> None:
    """Serve until a signal; the delivery and the making of data periods stop with the server."""
    public = settings.public_url or f"http://{settings.host}:{settings.port}"
    config = ApiSettings(
        database_url=settings.database_url,
        public_url=public,
        allowed_hosts=("127.0.0.1", "localhost", urlsplit(public).hostname or "localhost"),
        secure_cookies=public.startswith("https://"),
    )
    async with asyncio.TaskGroup() as tasks:
        leaving = delivery.DeliverySettings(allow=settings.outgoing, public_url=public)
        sending = tasks.create_task(delivery.run(settings.database_url, leaving), name="api.delivery")
        making = tasks.create_task(data.run(settings.database_url), name="api.data")
        await server(config, settings.host, settings.port).serve()
        sending.cancel()
        making.cancel()
