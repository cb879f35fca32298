"""What the docs tell people to write is accepted, and what they link to is there."""

import re
from pathlib import Path

import psycopg
import pytest

from gateway.clock import now_us
from gateway.codecs.families import codecs
from gateway.codecs.mapping import parse
from ingest import declaration, register
from ingest.classes import CLASSES
from smartcare import rules
from tests import gallery

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_example_register_can_be_imported_twice_and_the_second_time_changes_nothing(dsn: str, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "register.md").read_text()
    (tmp_path / "town.yaml").write_text(re.search(r"```yaml\n(.*?)```", page, re.S)[1])  # type: ignore[index]
    document = declaration.read(tmp_path / "town.yaml")
    with psycopg.connect(dsn, autocommit=True) as conn:
        first = register.load(conn, document, now_us())
        second = register.load(conn, document, now_us())
    assert (first["sites"].created, first["places"].created, first["devices"].created) == (1, 3, 3)
    assert all(counts.created == counts.changed == 0 for counts in second.values())


def test_the_table_of_device_classes_is_the_code_s() -> None:
    page = (ROOT / "docs" / "register.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \| \d", page, re.M)) == set(CLASSES)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_table_of_rules_is_the_code_s() -> None:
    assert rules.table() in (ROOT / "docs" / "rules.md").read_text(), "write the output of `smartcare rules` into docs/rules.md"


@pytest.mark.parametrize("example", gallery.examples(), ids=lambda e: e.head)
def test_the_gallery_says_what_is_stored_of_what_a_device_sends(example: gallery.Example) -> None:
    group, _ = gallery.understood(example)
    assert group.quarantine == []
    assert gallery.stored(example) == example.stored


def test_every_family_is_in_the_gallery() -> None:
    shown = {gallery.understood(example)[1].family for example in gallery.examples()}
    assert shown == {codec.family for codec in codecs(mapping=parse(gallery.mapping_text()))}
