"""The worker as shipped, but for an engine that raises in every step while the file in SMARTCARE_BROKEN exists."""

import asyncio
import os
from pathlib import Path

from analytics.engine import Engine
from analytics.findings import Finding
from ingest.columns import Batch
from smartcare import settings
from smartcare.worker import run

BROKEN = Path(os.environ["BROKEN_ENGINE"])


class FailingEngine(Engine):
    """Raises as long as the file is there."""

    def apply(self, batch: Batch) -> list[Finding]:
        """Raise, or do what the engine does."""
        if BROKEN.exists():
            raise RuntimeError("this engine is broken")
        return super().apply(batch)


if __name__ == "__main__":
    asyncio.run(run(settings.load(), FailingEngine))
