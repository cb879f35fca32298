"""How the page says persons: what they agreed to, when they were last here, and how terminals know them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg.rows import DictRow

from api.people import PURPOSES
from api.web.i18n import Say


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonView:
    """A person in a list. name: only where it was asked for."""

    id: int
    name: str
    role: str
    ref: str
    site: str
    site_code: str
    purposes: list[tuple[str, bool]]
    last: str
    links: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentView:
    """One consent with its end, in words."""

    purpose: str
    word: str
    text: str
    guardian: bool
    active: bool
    ended: str


def person(row: DictRow, names: Mapping[int, str], say: Say) -> PersonView:
    """Say a person."""
    return PersonView(
        id=row["id"],
        name=names.get(row["id"], ""),
        role=say.word("person_role", row["role"]),
        ref=row["ref"],
        site=say.name(row["site_name"], row["site_name_en"]),
        site_code=row["site"],
        purposes=[(say("purpose." + p), p in row["purposes"]) for p in PURPOSES],
        last=str(row["last_day"]) if row["last_day"] else say("span.never"),
        links=row["links"],
    )


def consent(c: Mapping[str, Any], zone: str, say: Say) -> ConsentView:
    """Say a consent."""
    given = say.clock(c["given_us"], zone)
    ended = ""
    if c["withdrawn_us"] is not None:
        ended = say("people.withdrawn", time=say.clock(c["withdrawn_us"], zone), who=c["withdrawn_by"])
    channel = say.word("channel_of_consent", c["channel"])
    text = say("people.given", time=given, version=c["version"], channel=channel, who=c["author"])
    word = say("purpose." + c["purpose"])
    return ConsentView(
        purpose=c["purpose"], word=word, text=text, guardian=bool(c["guardian"]), active=c["withdrawn_us"] is None, ended=ended
    )
