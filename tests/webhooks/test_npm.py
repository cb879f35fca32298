"""Deliveries as they arrive over HTTP, verified by the Standard Webhooks library for JavaScript."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from api.signing import generate_secret
from tests.api.conftest import outbox
from tests.api.outbox import SECRET, Outbox, receiver, sending
from tests.api.serving import serving
from tests.programs import need

HERE = Path(__file__).parent
BUILD = HERE.parents[1] / "build" / "webhooks"
__all__ = ["outbox"]


@pytest.fixture(scope="module")
def library() -> Path:
    """The folder with the verifier; installed once."""
    need(shutil.which("node"), "nodejs")
    BUILD.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "verify.mjs"):
        shutil.copyfile(HERE / name, BUILD / name)
    if not (BUILD / "node_modules" / "standardwebhooks").exists():
        npm = [need(shutil.which("npm"), "npm"), "install", "--no-package-lock", "--no-audit", "--no-fund"]
        done = subprocess.run(npm, cwd=BUILD, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.fail(f"npm could not install standardwebhooks into {BUILD}:\n{done.stderr}")
    return BUILD


def verdicts(library: Path, *cases: dict[str, Any]) -> list[str]:
    text = "".join(json.dumps(case) + "\n" for case in cases)
    done = subprocess.run(["node", "verify.mjs"], cwd=library, input=text, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.splitlines()


async def test_the_npm_library_verifies_what_arrives_also_during_a_rotation_and_refuses_what_was_changed(
    outbox: Outbox, library: Path
) -> None:
    came: list[dict[str, Any]] = []

    async def take(request: Request) -> Response:
        names = ("webhook-id", "webhook-timestamp", "webhook-signature")
        came.append({"headers": {n: request.headers[n] for n in names}, "body": (await request.body()).decode()})
        return Response()

    new = generate_secret()
    with serving(receiver(take)) as port:
        async with sending(outbox, port):
            await outbox.until(outbox.put(outbox.alert(), outbox.endpoint(port)), state="delivered")
            rotating = outbox.endpoint(port, secret=f"{new} {SECRET}")
            await outbox.until(outbox.put(outbox.alert(), rotating), state="delivered")
    plain, both = came
    changed = plain | {"body": plain["body"].replace("桃园", "梨园")}
    assert "桃园" in plain["body"]
    cases = [plain | {"secret": SECRET}, plain | {"secret": new}, changed | {"secret": SECRET}]
    assert verdicts(library, *cases) == ["ok", "No matching signature found", "No matching signature found"]
    assert verdicts(library, both | {"secret": SECRET}, both | {"secret": new}) == ["ok", "ok"]
