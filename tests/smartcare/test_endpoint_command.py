"""`smartcare endpoint`: declared, kept and tried on a real database, as a person would type it."""

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest


@pytest.fixture
def smartcare(dsn: str, tmp_path: Path) -> "Command":
    return Command(dsn, tmp_path)


class Command:
    """Runs a command in an empty folder with this database."""

    def __init__(self, dsn: str, folder: Path) -> None:
        self.dsn, self.folder = dsn, folder

    def __call__(self, *arguments: str, secret: str = "") -> subprocess.CompletedProcess[str]:
        env = {k: v for k, v in os.environ.items() if not k.startswith("SMARTCARE_")}
        env |= {"DATABASE_URL": self.dsn, "SMARTCARE_STATE": str(self.folder)}
        env |= {"SMARTCARE_PLATFORM_SECRET": secret} if secret else {}
        argv = [sys.executable, "-m", "smartcare", *arguments]
        return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=False)

    def secret(self, name: str) -> str:
        with psycopg.connect(self.dsn) as conn:
            row = conn.execute("SELECT secret FROM endpoint WHERE name = %s", [name]).fetchone()
        assert row is not None
        return str(row[0])


def test_an_endpoint_is_declared_with_its_mapping_and_tried_without_sending(smartcare: Command, tmp_path: Path) -> None:
    mapping = tmp_path / "city.yaml"
    mapping.write_text('body: {名称: "=data.site.name", no: "=data.alert_id"}', "utf-8")
    url = "http://platform.example.cn/in"
    more = ["--mapping", str(mapping), "--success", "$.code == 0", "--field", "alert_id", "--field", "site.name"]
    added = smartcare("endpoint", "add", "city", url, *more)
    assert added.returncode == 0, added.stderr
    assert smartcare.secret("city") in added.stdout
    tried = smartcare("endpoint", "try", "city")
    assert tried.returncode == 0, tried.stderr
    assert tried.stdout.startswith(f"POST {url}\n")
    assert tried.stdout.strip().endswith('{"名称":"示例照料中心","no":1024}')
    assert smartcare.secret("city") not in tried.stdout


def test_declaring_an_endpoint_anew_keeps_its_secret_unless_another_is_given(smartcare: Command) -> None:
    smartcare("endpoint", "add", "city", "http://platform.example.cn/in")
    first = smartcare.secret("city")
    again = smartcare("endpoint", "add", "city", "http://platform.example.cn/in", "--success", "$.code == 0")
    assert (again.returncode, smartcare.secret("city"), first in again.stdout) == (0, first, False)
    smartcare("endpoint", "add", "city", "http://r.example.cn/send?access_token=t", "--kind", "dingtalk")
    assert smartcare.secret("city") == ""
    smartcare("endpoint", "add", "city", "http://r.example.cn/send?access_token=t", "--kind", "dingtalk", secret="SECnew")
    assert smartcare.secret("city") == "SECnew"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["add", "city", "http://x.example.cn/", "--success", "code=0"], "a success rule is like"),
        (["add", "city", "http://x.example.cn/", "--mapping", "/nowhere.yaml"], "nowhere.yaml"),
        (["try", "nobody"], "there is no endpoint 'nobody'"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do(smartcare: Command, arguments: list[str], said: str) -> None:
    failed = smartcare("endpoint", *arguments)
    assert failed.returncode == 1
    assert said in failed.stderr
    assert "Traceback" not in failed.stderr
