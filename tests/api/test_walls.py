"""Row-level security, asked of the database itself: each table shows each reader their own part, and each policy is needed.

One decision: every table has one row of the east and one of the west, so that what a reader sees is said by two numbers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from api.accounts import WHOLE, Part
from api.scope import make_pool, within
from gateway.clock import now_us
from ingest.store.schema import API_ROLE, migrate
from smartcare.backup import backup
from smartcare.embedded import postgres
from tests.api.seed import County

Conn = psycopg.Connection[tuple[object, ...]]
ROWS = {
    "mounting": "INSERT INTO mounting (device, place, from_us) VALUES ({device}, {place}, 0)",
    "unclaimed": "INSERT INTO unclaimed VALUES ({gateway}, 'z2m/new', 1, 1, 1, 1)",
    "closure": "INSERT INTO closure (site, from_us, to_us, reason, author, at_us) VALUES ({site}, 1, 2, 'x', 'x', 1)",
    "site_mode": "INSERT INTO site_mode (site, from_us, to_us, mode, reason, author, at_us) "
    "VALUES ({site}, 1, 2, 'drill', 'x', 'x', 1)",
    "person_link": "INSERT INTO person_link VALUES ({device}, '7', {person})",
    "planned_absence": "INSERT INTO planned_absence (person, from_us, to_us, reason, author, at_us) "
    "VALUES ({person}, 1, 2, 'x', 'x', 1)",
    "person_name": "INSERT INTO person_name VALUES ({person}, '', 'x', 1)",
    "consent": "INSERT INTO consent (person, purpose, version, given_us, channel, author) "
    "VALUES ({person}, 'attendance', '1', 1, 'paper', 'x')",
    "check_in": "INSERT INTO check_in SELECT {gateway}, 1, 'desk/' || code, {person}, 1, 1, 1, 'x' FROM site WHERE id = {site}",
    "person_day": "INSERT INTO person_day VALUES ({person}, {site}, '2026-11-01', 1, 1, 1)",
    "visit_task": "INSERT INTO visit_task (alert, person, site, created_us, due_us) VALUES ({alert}, {person}, {site}, 1, 2)",
    "walk_test": "INSERT INTO walk_test (site, device, started_us, author) VALUES ({site}, {device}, 1, 'x')",
    "coverage": "INSERT INTO coverage VALUES ({gateway}, 1, 1, 2, 1, 1)",
    "blind": "INSERT INTO blind VALUES ({gateway}, '', 1, 2, 'x', 1, 1)",
    "liveness": "INSERT INTO liveness VALUES (1, {gateway}, {gateway}, true, 1)",
    "loss": "INSERT INTO loss (gateway, pos, reason) VALUES ({gateway}, 1, 'x')",
    "quarantine": "INSERT INTO quarantine (at_us, topic, gateway, reason, detail, bytes) "
    "VALUES (1, 'x', {gateway}, 'x', 'x', '')",
    "rollup_hour": "INSERT INTO rollup_hour (place, hour_us) VALUES ({place}, 0)",
    "rollup_service": "INSERT INTO rollup_service (place, slot_us) VALUES ({place}, 0)",
    "rollup_site_service": "INSERT INTO rollup_site_service (site, slot_us) VALUES ({site}, 0)",
    "notice": "INSERT INTO notice (alert, version, at_us, told, reason) VALUES ({alert}, 1, 1, false, 'x')",
    "telling": "INSERT INTO telling (alert, site) VALUES ({alert}, {site})",
    "outbox": "INSERT INTO outbox (alert, version, endpoint, webhook_id, body, due_us) VALUES ({alert}, 1, 1, 'm{site}', '', 1)",
    "silence": "INSERT INTO silence (kind, site, from_us, to_us, author, reason, created_us) "
    "VALUES ('silence', {site}, 1, 2, 'x', 'x', 1)",
    "contact": "INSERT INTO contact (name, endpoint) VALUES ('c{site}', 1)",
    "shift": "INSERT INTO shift (contact, site, from_us) VALUES ((SELECT max(id) FROM contact), {site}, 1)",
    "correction": "INSERT INTO correction (site, day, what, delta, reason, author, at_us) "
    "VALUES ({site}, '2026-11-01', 'served', 1, 'x', 'x', 1)",
    "acceptance": "INSERT INTO acceptance (site, made_us, author, passed, body, signature) VALUES ({site}, 1, 'x', true, '', '')",
}
"""What makes a row of each table for one site."""
MADE = {"site", "place", "site_status", "gateway", "device", "person", "alert", "alert_change"}
"""Tables of which `County` has made a row of each already."""
CITY = {"subscription", "data_period", "disclosure"}
"""Tables that only those who see everything see."""
OPEN = {
    *("account", "account_site", "api_token", "audit", "audit_head", "calendar_day", "data_progress", "endpoint", "erased"),
    *("evidence_key", "maintenance", "region", "register_version", "session", "shard", "signin_link", "worker"),
}
"""Tables of no part of the tree that the role reaches as they are; endpoint and evidence_key without their secrets."""
LOG = {"seen_event", "seen_passage", "seen_frame"}
APPEND_ONLY = {"acceptance", "correction"}
READ_ONLY = {
    *("blind", "check_in", "coverage", "liveness", "loss", "quarantine"),
    *("rollup_hour", "rollup_service", "rollup_site_service"),
}
PERSONAL = {
    *("person", "person_name", "consent", "check_in", "person_link", "person_day", "planned_absence", "visit_task"),
    *("alert", "alert_change", "notice", "outbox"),
}
"""Tables about single persons, and of alerts where each is about one."""
CITY_WRITES = {"shift", "contact"}
"""Tables that everyone reads in their part and only the city changes."""
TABLES = sorted(MADE | ROWS.keys())


@pytest.fixture(scope="module")
def county(postgres_server: postgres.Server) -> Iterator[Conn]:
    """A database with one row of the east and one of the west in every table."""
    with psycopg.connect(postgres_server.dsn("postgres"), autocommit=True) as server:
        server.execute("CREATE DATABASE walls TEMPLATE template_smartcare STRATEGY FILE_COPY")
        try:
            with psycopg.connect(postgres_server.dsn("walls"), autocommit=True) as conn:
                _fill(conn)
                yield conn
        finally:
            server.execute("DROP DATABASE walls WITH (FORCE)")


def _fill(conn: Conn) -> None:
    county = County(conn)
    conn.execute("INSERT INTO endpoint (name, url, secret) VALUES ('platform', 'http://x', 'whsec_x')")
    conn.execute("INSERT INTO subscription (endpoint, what, period, from_us, through_us) VALUES (1, 'counts', 'day', 0, 0)")
    for name in ("east", "west"):
        site = county.site(name, name, name, county.region(name, name))
        conn.execute("DELETE FROM place WHERE site = %s AND code <> 'p0'", [site])
        values = {"site": site, "place": county.place(site), "alert": county.alert(site)}
        made = "INSERT INTO gateway (code, shard) VALUES (%s, 1) RETURNING id"
        values["gateway"] = _one(conn, made, f"g{site}")
        made = "INSERT INTO device (gateway, identity, class) VALUES (%s, 'z2m/a', 'zigbee_contact') RETURNING id"
        values["device"] = _one(conn, made, values["gateway"])
        made = "INSERT INTO person (token, site, role, consent_from_us) VALUES (%s, %s, 'resident', 0) RETURNING id"
        values["person"] = _one(conn, made, site.to_bytes(16), site)
        conn.execute("INSERT INTO desk VALUES (%s, 1)", [values["gateway"]])
        for statement in ROWS.values():
            conn.execute(statement.format(**values).encode())
        conn.execute(
            f"INSERT INTO event VALUES ({now_us()}, 1, 0, 1, 0, 0, 1, {values['device']}, {values['place']}, 0, 0, 0, 1, 1, 0, 0)"
        )
        conn.execute(
            f"INSERT INTO passage VALUES ({now_us()}, 1, 0, 0, 1, {values['device']}, {values['place']}, 0, 0, 1, 1, 1, 1, 0)"
        )
        conn.execute(f"INSERT INTO frame VALUES ({now_us()}, 1, 0, 1, {values['gateway']}, 1, 1, 1)")
        conn.execute(
            "INSERT INTO data_period (subscription, site, from_us, to_us, digest, whole, looked_us) "
            "VALUES (1, %s, 0, 1, '', true, 1)",
            [site],
        )
        conn.execute(
            "INSERT INTO disclosure (at_us, endpoint, receiver, about, version, webhook_id, fields, bytes) "
            "VALUES (1, 'x', 'x', 'x', 1, 'x', '{}', 1)"
        )


def _one(conn: Conn, statement: str, *values: object) -> int:
    row = conn.execute(statement.encode(), values).fetchone()
    assert row
    return int(str(row[0]))


@contextmanager
def reader(conn: Conn, sites: str, *, whole: bool = False, persons: bool = True) -> Iterator[None]:
    """The role of the pages, with a part: what `api.scope.within` says first."""
    said = {"whole": "on" if whole else "off", "area": "", "sites": sites, "persons": "on" if persons else "off"}
    conn.execute("SELECT set_config('role', %s, true)", [API_ROLE])
    for name, value in said.items():
        conn.execute("SELECT set_config(%s, %s, true)", [f"app.{name}", value])
    yield
    conn.execute("RESET ROLE")


def seen(conn: Conn, table: str) -> int:
    """How many of a table's rows the reader sees."""
    return _one(conn, sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table)).as_string(conn))


def faults(conn: Conn, table: str) -> list[str]:
    """What is wrong with a table's wall; run within a transaction that is rolled back."""
    found = []
    for sites, expected in {"{1}": 1, "{2}": 1, "{1,2}": 2, "{}": 0, "": 0, "whole": 2}.items():
        with reader(conn, sites.replace("whole", "{}"), whole=sites == "whole"):
            if (count := seen(conn, table)) != expected:
                found.append(f"{table}: {count} rows for {sites or 'nothing'}")
    if table not in READ_ONLY | APPEND_ONLY | LOG:
        found += _write_faults(conn, table)
    return found + (_area_faults(conn, table) if table in ("silence", "shift") else [])


def _area_faults(conn: Conn, table: str) -> list[str]:
    """What is for a whole part of the regions is seen by whoever has a site there, and is not theirs to change."""
    row = {
        "silence": "(kind, area, from_us, to_us, author, reason, created_us) VALUES ('silence', '999001001', 1, 2, 'x', 'x', 1)",
        "shift": "(contact, area, from_us) VALUES (1, '999001001', 1)",
    }
    conn.execute(f"INSERT INTO {table} {row[table]}".encode())
    found = []
    for sites, expected in (("{1}", 2), ("{2}", 1)):
        with reader(conn, sites):
            if (count := seen(conn, table)) != expected:
                found.append(f"{table}: {count} rows for {sites} with one of an area")
            if conn.execute(f"DELETE FROM {table} WHERE area IS NOT NULL".encode()).rowcount:
                found.append(f"{table}: {sites} ended what is of an area")
    return found


def _write_faults(conn: Conn, table: str) -> list[str]:
    column = "name" if table in ("device", "place", "site", "contact") else _column(conn, table)
    touch = sql.SQL("UPDATE {0} SET {1} = {1}").format(sql.Identifier(table), sql.Identifier(column))
    found = []
    for sites, whole, expected in (("{1}", False, 0 if table in CITY_WRITES else 1), ("{}", True, 2)):
        with reader(conn, sites, whole=whole):
            if (count := conn.execute(touch).rowcount) != expected:
                found.append(f"{table}: {count} rows changed for {sites}, whole {whole}")
    return found


def _column(conn: Conn, table: str) -> str:
    row = conn.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND attidentity = '' "
        "AND attgenerated = '' ORDER BY attnum LIMIT 1",
        [table],
    ).fetchone()
    assert row
    return str(row[0])


@pytest.mark.parametrize("table", [*TABLES, *sorted(LOG)])
def test_a_reader_sees_and_changes_their_own_part_and_nothing_else(county: Conn, table: str) -> None:
    with county.transaction(force_rollback=True):
        assert faults(county, table) == []


@pytest.mark.parametrize("table", sorted(CITY))
def test_what_is_the_citys_is_shown_to_the_city_only(county: Conn, table: str) -> None:
    with county.transaction(force_rollback=True):
        with reader(county, "{1,2}"):
            assert seen(county, table) == 0
        with reader(county, "{}", whole=True):
            assert seen(county, table) > 0


@pytest.mark.parametrize("table", TABLES)
def test_without_any_one_of_its_policies_or_with_one_that_lets_all_through_a_table_has_a_fault(county: Conn, table: str) -> None:
    policies = [str(p) for (p,) in county.execute("SELECT policyname FROM pg_policies WHERE tablename = %s", [table])]
    assert policies
    name = sql.Identifier(table)
    broken = [sql.SQL("ALTER TABLE {} DISABLE ROW LEVEL SECURITY").format(name)]
    for policy in map(sql.Identifier, policies):
        broken.append(sql.SQL("DROP POLICY {} ON {}").format(policy, name))
        broken.append(sql.SQL("ALTER POLICY {} ON {} USING (true)").format(policy, name))
    for statement in broken:
        with county.transaction(force_rollback=True):
            county.execute(statement)
            assert faults(county, table), statement.as_string(county)


@pytest.mark.parametrize("view", sorted(LOG))
def test_the_log_is_reached_through_the_register_only(county: Conn, view: str) -> None:
    table = sql.Identifier(view.removeprefix("seen_"))
    with (
        county.transaction(force_rollback=True),
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        reader(county, "{}", whole=True),
    ):
        county.execute(sql.SQL("SELECT FROM {}").format(table))
    with county.transaction(force_rollback=True):
        county.execute(sql.SQL("CREATE OR REPLACE VIEW {} AS SELECT * FROM {}").format(sql.Identifier(view), table))
        assert faults(county, view)


def test_an_installer_sees_nothing_about_persons(county: Conn) -> None:
    with county.transaction(force_rollback=True):
        county.execute("UPDATE alert SET subject_kind = 'person'")
        with reader(county, "{1,2}", persons=False):
            assert {table: seen(county, table) for table in PERSONAL} == dict.fromkeys(PERSONAL, 0)
            assert seen(county, "place") == 2


def test_a_part_of_the_regions_is_what_its_sites_are(county: Conn) -> None:
    with county.transaction(force_rollback=True), reader(county, "{}"):
        county.execute("SELECT set_config('app.area', '999001001', true)")
        assert (seen(county, "site"), seen(county, "place"), seen(county, "alert_change")) == (1, 1, 1)
        made = "INSERT INTO site (code, name, kind, region, hours, shard) VALUES (%s, 'x', 'point', %s, '{}', 1) RETURNING id"
        _one(county, made, "new", "999001001000")
        assert seen(county, "site") == 2
        with pytest.raises(psycopg.errors.InsufficientPrivilege), county.transaction():
            _one(county, made, "newer", "999001002000")


def test_nobody_moves_their_own_into_anothers_part(county: Conn) -> None:
    with county.transaction(force_rollback=True), reader(county, "{1}"):
        for table in ("closure", "place", "silence", "person", "visit_task"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), county.transaction():
                county.execute(sql.SQL("UPDATE {} SET site = 2").format(sql.Identifier(table)))


def test_the_role_reads_no_secret_of_a_receiver_and_cannot_rewrite_the_audit_log(county: Conn) -> None:
    for statement in (
        "SELECT secret FROM endpoint",
        "SELECT private FROM evidence_key",
        "SELECT * FROM endpoint_token",
        "SELECT * FROM checkpoint",
        "SELECT * FROM served_person",
        "DELETE FROM audit",
        "UPDATE audit SET who = 'x'",
        "INSERT INTO audit VALUES (1, 1, 1, 'x', '', 'x', 'x', '{}', '')",
        "UPDATE audit_head SET id = 0",
        "CREATE TABLE mine (id integer)",
    ):
        with (
            county.transaction(force_rollback=True),
            pytest.raises(psycopg.errors.InsufficientPrivilege),
            reader(county, "{}", whole=True),
        ):
            county.execute(statement.encode())


def test_the_function_that_enters_check_ins_does_so_for_ones_own_sites_and_persons_only(county: Conn) -> None:
    entered = "SELECT enter_check_in(%s, %s, 1::smallint, 1, 1, 'x')"
    persons = [(site, _one(county, "SELECT min(id) FROM person WHERE site = %s", site)) for site in (1, 2)]
    (east, hers), (west, his) = persons
    foreign = [("{1}", west, None, True), ("{1}", west, his, True), ("{1}", east, his, True), ("{1}", east, hers, False)]
    for sites, site, person, about in [*foreign, ("{}", east, None, True)]:
        undone, refused = county.transaction(force_rollback=True), pytest.raises(psycopg.errors.InsufficientPrivilege)
        with undone, refused, reader(county, sites, persons=about):
            _one(county, entered, site, person)
    for sites, whole in (("{1}", False), ("{}", True)):
        with county.transaction(force_rollback=True), reader(county, sites, whole=whole):
            assert _one(county, entered, east, hers) > 0
    with county.transaction(force_rollback=True):
        assert _one(county, entered, west, his) > 0  # the owner


def test_every_table_is_behind_a_wall_or_named_as_one_that_needs_none(county: Conn) -> None:
    reached = {
        str(name)
        for (name,) in county.execute(
            "SELECT DISTINCT table_name FROM information_schema.column_privileges WHERE grantee = %s", [API_ROLE]
        )
    }
    walled = {
        str(name)
        for (name,) in county.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') "
            "AND relrowsecurity AND relforcerowsecurity"
        )
    }
    assert reached - walled == OPEN | LOG
    assert walled == set(TABLES) | CITY


def test_the_catalog_leaves_no_way_around(county: Conn) -> None:
    def names(query: str) -> set[str]:
        return {str(name) for (name,) in county.execute(query.encode())}

    role = "SELECT rolname FROM pg_roles WHERE rolname = 'smartcare_api' "
    role += "AND (rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb)"
    assert names(role) == set()
    owned = "SELECT relname FROM pg_class WHERE relowner = 'smartcare_api'::regrole"
    assert names(owned) == set()
    views = (
        "SELECT relname FROM pg_class WHERE relkind = 'v' AND relnamespace = 'public'::regnamespace "
        "AND NOT coalesce(reloptions @> '{security_invoker=true}', false)"
    )
    assert names(views) == LOG, "a view that is not one of the log must have security_invoker"
    definers = (
        "SELECT proname FROM pg_proc WHERE prosecdef AND pronamespace = 'public'::regnamespace "
        "AND NOT coalesce(array_to_string(proconfig, ',') LIKE '%search_path=%', false)"
    )
    assert names(definers) == set()
    for_all = (
        "SELECT proname FROM pg_proc WHERE prosecdef AND pronamespace = 'public'::regnamespace "
        "AND (proacl IS NULL OR EXISTS (SELECT FROM aclexplode(proacl) WHERE grantee = 0))"
    )
    assert names(for_all) == set()
    public = "SELECT relname FROM pg_class, aclexplode(relacl) a WHERE relnamespace = 'public'::regnamespace AND a.grantee = 0"
    assert names(public) == set()


def test_a_restored_database_gets_its_rights_back(county: Conn) -> None:
    with county.transaction(force_rollback=True):
        county.execute("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM smartcare_api")
        assert migrate(county, now_us()) == []
        assert faults(county, "alert") == []


async def test_a_connection_that_comes_back_to_the_pool_forgets_whose_it_was(county: Conn) -> None:
    async with make_pool(f"{county.info.dsn} password={county.info.password}", 1) as pool:
        async with within(pool, Part(sites=(1,))) as conn:
            await conn.execute("SELECT set_config('app.whole', 'on', false)")  # a mistake: for the session
            assert (await (await conn.execute("SELECT count(*) FROM site")).fetchone()) == (2,)
        async with pool.connection() as conn:
            said = "SELECT current_setting('app.whole', true), current_setting('app.sites', true), current_user"
            assert (await (await conn.execute(said)).fetchone()) == ("", "", county.info.user)
        async with within(pool, WHOLE) as conn:
            assert (await (await conn.execute("SELECT count(*) FROM site")).fetchone()) == (2,)


def test_an_owner_who_is_no_superuser_brings_the_schema_sees_everything_and_dumps_it(
    postgres_server: postgres.Server, tmp_path: Path
) -> None:
    with psycopg.connect(postgres_server.dsn("postgres"), autocommit=True) as server:
        server.execute("CREATE ROLE county LOGIN CREATEROLE PASSWORD 'county'")
        server.execute("GRANT smartcare_api TO county WITH ADMIN OPTION")
        server.execute("CREATE DATABASE owned OWNER county")
        try:
            dsn = f"postgresql://county:county@127.0.0.1:{postgres_server.port}/owned"
            with psycopg.connect(dsn, autocommit=True) as conn:
                migrate(conn, now_us())
                _fill(conn)
                assert seen(conn, "site") == seen(conn, "seen_event") == 2
                with conn.transaction(force_rollback=True):
                    assert faults(conn, "alert") == faults(conn, "seen_passage") == []
            assert backup(dsn, tmp_path / "dump", lambda line: None) > 0
        finally:
            server.execute("DROP DATABASE owned WITH (FORCE)")
            server.execute("DROP OWNED BY county CASCADE")
            server.execute("DROP ROLE county")
