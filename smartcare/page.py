"""The `api` process: page, REST and live stream in one server; telling people, delivery, data periods and upkeep beside it."""

import asyncio
from urllib.parse import urlsplit

from analytics import telling
from api import data, delivery, upkeep
from api.serve import server, settle
from api.settings import ApiSettings
from smartcare.settings import Settings


async def run(settings: Settings) -> None:
    """Serve until a signal; what runs beside the server stops with it."""
    public = settings.public_url or f"http://{settings.host}:{settings.port}"
    config = ApiSettings(
        database_url=settings.database_url,
        api_database_url=settings.api_database_url,
        public_url=public,
        allowed_hosts=("127.0.0.1", "localhost", urlsplit(public).hostname or "localhost"),
        country=settings.country,
        name_key=settings.name_key or settings.state / "name.key",
        secure_cookies=public.startswith("https://"),
    )
    async with asyncio.TaskGroup() as tasks:
        leaving = delivery.DeliverySettings(allow=settings.outgoing, public_url=public)
        beside = [
            tasks.create_task(telling.run(settings.database_url), name="analytics.telling"),
            tasks.create_task(delivery.run(settings.database_url, leaving), name="api.delivery"),
            tasks.create_task(data.run(settings.database_url), name="api.data"),
            tasks.create_task(upkeep.run(settings.database_url), name="api.upkeep"),
        ]
        serving = server(config, settings.host, settings.port)
        settle()
        await serving.serve()
        for task in beside:
            task.cancel()
