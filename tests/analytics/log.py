"""A real database with a small register, and scenario batches stored in its log as T1 stores them."""

from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from gateway.clock import now_us
from gateway.events import Kind
from ingest.columns import Batch
from ingest.inputs import Inputs

OFFSET = 1_000
"""Scenario positions are small numbers; those of the log are times of today, where the partitions are."""


def register(conn: psycopg.Connection[Any], inputs: Inputs, shard: int, endpoints: Sequence[str] = ()) -> None:
    """Put the rows that foreign keys and names need, under the register's own ids."""
    conn.execute("INSERT INTO region (code, name) VALUES ('330481001000', '硖石街道')")
    put = "INSERT INTO {} OVERRIDING SYSTEM VALUE VALUES ({})"
    for s in inputs.sites:
        columns = "site (id, code, name, name_en, kind, region, zone, hours, shard)"
        values = [s.id, s.code, s.name, s.name_en, s.kind, "330481001000", s.zone, Jsonb(s.hours), shard]
        conn.execute(put.format(columns, ",".join(["%s"] * 9)).encode(), values)
    for p in inputs.places:
        columns = "place (id, site, code, name, room)"
        conn.execute(put.format(columns, "%s,%s,%s,%s,%s").encode(), [p.id, p.site, p.code, p.name, p.room])
    for g in inputs.gateways:
        conn.execute(put.format("gateway (id, code, shard)", "%s,%s,%s").encode(), [g.id, g.code, shard])
    for d in inputs.devices:
        columns = "device (id, gateway, identity, class, name)"
        conn.execute(put.format(columns, "%s,%s,%s,%s,%s").encode(), [d.id, d.gateway, d.identity, d.device_class, d.name])
        if d.place:
            columns = "mounting (device, place, from_us)"
            conn.execute(f"INSERT INTO {columns} VALUES (%s, %s, %s)".encode(), [d.id, d.place, d.mounted_us])
    for name in endpoints:
        conn.execute("INSERT INTO endpoint (name, url, secret) VALUES (%s, 'http://127.0.0.1:9/', 'whsec_x')", [name])


class Log:
    """Stores scenario batches of one shard and hands out what T1 would hand to the analyzer."""

    def __init__(self, conn: psycopg.Connection[Any], shard: int) -> None:
        self.conn, self.shard, self.base, self.pos = conn, shard, now_us(), 0

    def store(self, batch: Batch) -> Batch:
        """Commit a batch as T1 does. Returns it with its real position."""
        pos = self.base + batch.pos * OFFSET
        stored = Batch(
            shard=self.shard,
            prev=self.pos,
            pos=pos,
            rows=batch.rows,
            coverage=batch.coverage,
            blind=batch.blind,
            liveness=batch.liveness,
            inputs=batch.inputs,
        )
        with self.conn.transaction():
            self._rows(stored)
            for c in batch.coverage:
                self.conn.execute(
                    "INSERT INTO coverage VALUES (%s, %s, %s, %s, %s, %s) "
                    "ON CONFLICT (gateway, stream) DO UPDATE SET through_us = EXCLUDED.through_us, pos = EXCLUDED.pos",
                    [c.gateway, c.stream, c.from_us, c.through_us, pos, self.shard],
                )
            for x in batch.liveness:
                self.conn.execute(
                    "INSERT INTO liveness VALUES (%s, %s, %s, %s, %s)", [self.shard, pos, x.gateway, x.alive, x.at_us]
                )
            if batch.inputs is not None:
                self.conn.execute("INSERT INTO inputs VALUES (%s, %s, 1, %s)", [self.shard, pos, batch.inputs])
            self.conn.execute("UPDATE shard SET pos = %s WHERE id = %s", [pos, self.shard])
        self.pos = pos
        return stored

    def _rows(self, batch: Batch) -> None:
        for n, row in enumerate(batch.rows):
            assert row["kind"] != Kind.PASSAGE, "passages have a table of their own; these scenarios use doors"
            batch.rows["ordinal"][n] = n
            values = {
                name: int(row[name]) for name in ("t_us", "a", "b", "device", "place", "d_in", "d_out", "kind", "aux", "flags")
            }
            self.conn.execute(
                "INSERT INTO event (pos, t_us, raw_us, a, b, key, ordinal, device, place, lag_ms, d_in, d_out, shard, kind, aux, "
                "flags) "
                "VALUES (%(pos)s, %(t_us)s, 0, %(a)s, %(b)s, 0, %(n)s, %(device)s, %(place)s, 0, %(d_in)s, %(d_out)s, %(shard)s, "
                "%(kind)s, %(aux)s, %(flags)s)",
                values | {"pos": batch.pos, "n": n, "shard": self.shard},
            )
        if len(batch.rows):
            gateway = int(batch.rows["gateway"][0])
            self.conn.execute(
                "INSERT INTO frame VALUES (%s, %s, 0, %s, %s, 77, %s, 0)",
                [batch.pos, self.shard, len(batch.rows), gateway, batch.pos],
            )
