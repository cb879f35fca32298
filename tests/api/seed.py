"""Puts a small county into a database: what the worker would have left there."""

import hashlib
import secrets
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from gateway.clock import HOUR_US, MINUTE_US, SECOND_US, now_us
from gateway.events import Kind

HOURS = {day: [["08:30", "17:30"]] for day in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")}


@dataclass(slots=True)
class County:
    """Writes rows as the worker does, one committed transaction a call unless `conn` is not in autocommit."""

    conn: psycopg.Connection[Any]
    regions: int = 0
    streams: int = 0

    def region(self, name: str, name_en: str) -> str:
        """A township."""
        self.regions += 1
        code = f"999001{self.regions:03}000"
        self.conn.execute("INSERT INTO region VALUES (%s, %s, %s)", [code, name, name_en])
        return code

    def site(
        self,
        code: str,
        name: str,
        name_en: str,
        region: str,
        *,
        state: str = "ok",
        shard: int = 1,
        people: int = 0,
        rule: str = "",
    ) -> int:
        """A site with a status, a front door, a counter and a terminal."""
        now = now_us()
        row = self.conn.execute(
            "INSERT INTO site (code, name, name_en, kind, region, hours, shard, capacity) "
            "VALUES (%s, %s, %s, 'station', %s, %s, %s, 60) RETURNING id",
            [code, name, name_en, region, Jsonb(HOURS), shard],
        ).fetchone()
        assert row
        site = int(row[0])
        places = []
        names = (("前门", "Front door", "entrance"), ("大厅", "Hall", "hall"), ("食堂", "Canteen", "canteen"))
        for n, (zh, en, room) in enumerate(names):
            place = self.conn.execute(
                "INSERT INTO place (site, code, name, name_en, room) VALUES (%s, %s, %s, %s, %s) RETURNING id",
                [site, f"p{n}", zh, en, room],
            ).fetchone()
            assert place
            places.append((int(place[0]), zh, en))
        families = (("door", "open"), ("counter", "online"), ("terminal", "online" if state != "blind" else "offline"))
        detail = {
            "places": [
                {
                    "id": i,
                    "name": zh,
                    "name_en": en,
                    "family": family,
                    "state": shown,
                    "since_us": now - 2 * HOUR_US,
                    "last_us": now - 40 * SECOND_US,
                }
                for (i, zh, en), (family, shown) in zip(places, families, strict=True)
            ],
            "recent": [
                self.event(now - 40 * SECOND_US, places[1][0], Kind.COUNT_TOTAL, d_in=2, d_out=1),
                self.event(now - 3 * MINUTE_US, places[2][0], Kind.PASSAGE, a=1),
                self.event(now - 8 * MINUTE_US, places[0][0], Kind.CONTACT, a=1),
                self.event(now - 9 * MINUTE_US, places[0][0], Kind.CONTACT, a=0),
            ],
        }
        self.conn.execute(
            "INSERT INTO site_status (site, state, clock_us, next_rule, next_deadline_us, today_in, today_passages, "
            "last_event_us, detail) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [
                site,
                state,
                now,
                rule,
                now + 25 * MINUTE_US if rule else None,
                people,
                people // 3,
                now - 40 * SECOND_US,
                Jsonb(detail),
            ],
        )
        return site

    def event(self, t_us: int, place: int, kind: Kind, *, a: int = 0, d_in: int = 0, d_out: int = 0) -> dict[str, int]:
        """An entry of a status's latest events."""
        return {"t_us": t_us, "place": place, "kind": int(kind), "a": a, "b": 0, "d_in": d_in, "d_out": d_out}

    def happened(self, site: int, *events: dict[str, int]) -> None:
        """The analyzer has seen more of a site's events."""
        self.conn.execute(
            "UPDATE site_status SET last_event_us = %s, changed = pg_current_xact_id(), "
            "detail = jsonb_set(detail, '{recent}', %s || (detail -> 'recent')) WHERE site = %s",
            [max(e["t_us"] for e in events), Jsonb(list(events)), site],
        )

    def place(self, site: int, code: str = "p0") -> int:
        """The id of a site's place: p0 the front door, p1 the hall, p2 the canteen."""
        row = self.conn.execute("SELECT id FROM place WHERE site = %s AND code = %s", [site, code]).fetchone()
        assert row
        return int(row[0])

    def contact(self, site: int, covered: list[tuple[int, int]], *said: tuple[int, int, int]) -> int:
        """A door contact at the site's front door, its gateway's coverage, and what it said: (t_us, 1 open, flags)."""
        self.streams += 1
        row = self.conn.execute(
            "WITH g AS (INSERT INTO gateway (code, shard) VALUES (%s, 1) RETURNING id), "
            "d AS (INSERT INTO device (gateway, identity, class) SELECT id, 'z2m/front', 'zigbee_contact' FROM g RETURNING *), "
            "m AS (INSERT INTO mounting (device, place, from_us) SELECT id, %s, 0 FROM d) SELECT id, gateway FROM d",
            [f"g{self.streams}", self.place(site)],
        ).fetchone()
        assert row
        device, gateway = int(row[0]), int(row[1])
        for n, (from_us, through_us) in enumerate(covered):
            self.conn.execute("INSERT INTO coverage VALUES (%s, %s, %s, %s, %s, 1)", [gateway, n, from_us, through_us, n])
        for n, (t_us, is_open, flags) in enumerate(said):
            self.conn.execute(
                "INSERT INTO event VALUES (%s, %s, 0, %s, 0, 0, %s, %s, %s, 0, 0, 0, 1, 1, 0, %s)",
                [now_us(), t_us, is_open, n, device, self.place(site), flags],
            )
        return device

    def alert(
        self,
        site: int | None,
        rule: str = "not_opened",
        *,
        severity: str = "urgent",
        state: str = "open",
        reason: dict[str, object] | None = None,
        evidence: list[list[int]] | None = None,
        age_us: int = 30 * MINUTE_US,
    ) -> int:
        """An alert with its first change; tells the page as the worker does."""
        now = now_us()
        self.streams += 1
        opens = now - age_us - 30 * MINUTE_US
        words = reason or {"code": "not_opened", "opens_us": opens, "grace_min": 30, "sensors": 3}
        row = self.conn.execute(
            "INSERT INTO alert (shard, rule, subject_kind, subject, site, episode, state, severity, begin_us, detected_us, "
            "reason, evidence) VALUES (1, %s, 'site', %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING id",
            [rule, site or 0, site, now + self.streams, state, severity, now - age_us, now, Jsonb(words), Jsonb(evidence or [])],
        ).fetchone()
        assert row
        self.change(int(row[0]), 1, "opened")
        return int(row[0])

    def change(self, alert: int, version: int, what: str, who: str = "analyzer") -> None:
        """A change of an alert."""
        self.conn.execute(
            "INSERT INTO alert_change (alert, version, at_us, who, what) VALUES (%s, %s, %s, %s, %s)",
            [alert, version, now_us(), who, what],
        )
        self.conn.execute("NOTIFY smartcare")

    def version(self, alert: int) -> int:
        """The alert's present version."""
        row = self.conn.execute("SELECT version FROM alert WHERE id = %s", [alert]).fetchone()
        assert row
        return int(row[0])

    def account(
        self, name: str, role: str, site: int | None = None, password: str | None = None, *, area: str | None = None
    ) -> int:
        """An account; the password is stored as given (a hash)."""
        row = self.conn.execute(
            "INSERT INTO account (name, role, area, password) VALUES (%s, %s, %s, %s) RETURNING id",
            [name, role, "" if role == "city" else area, password],
        ).fetchone()
        assert row
        if site is not None:
            self.conn.execute("INSERT INTO account_site VALUES (%s, %s)", [row[0], site])
        return int(row[0])

    def session(self, account: int) -> str:
        """A session; returns the cookie's value."""
        secret, now = secrets.token_urlsafe(32), now_us()
        self.conn.execute(
            "INSERT INTO session VALUES (%s, %s, %s, %s, %s)",
            [hashlib.sha256(secret.encode()).digest(), account, now, now, now + HOUR_US],
        )
        return secret

    def token(self, account: int, *scopes: str, lives_us: int = HOUR_US) -> str:
        """An API token."""
        secret, now = secrets.token_urlsafe(32), now_us()
        self.conn.execute(
            "INSERT INTO api_token VALUES (%s, %s, 'test', %s, %s, %s)",
            [hashlib.sha256(secret.encode()).digest(), account, list(scopes), now, now + lives_us],
        )
        return secret
