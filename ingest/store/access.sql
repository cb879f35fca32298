-- What the role smartcare_api may do, whom the pages and the REST interface connect as: row-level security, the second wall.
-- Run again after every migration, and whenever it has changed. A table that is not named here is out of its reach.
--
-- What a transaction may see is said in its first statement (api/scope.py):
--   app.whole    'on': everything
--   app.sites    '{1,2}': these sites
--   app.area     '999001': also what is in this part of the regions
--   app.persons  'on': also what is about single persons
-- Where nothing is said nothing is seen. The owner of the tables (worker, delivery, command line) sees everything.
--
-- TimescaleDB has no row-level security on compressed tables: of event, passage and frame the role sees the views at the end, which
-- rest on places and gateways.

DO $$ BEGIN
    CREATE ROLE smartcare_api NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$;
DO $$ BEGIN
    EXECUTE format('GRANT smartcare_api TO %I', current_user);  -- without a login of its own the application steps down to it
EXCEPTION WHEN invalid_grant_operation OR insufficient_privilege THEN NULL;
END $$;
GRANT USAGE ON SCHEMA public TO smartcare_api;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;

CREATE OR REPLACE FUNCTION sees_all() RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT coalesce(current_setting('app.whole', true) = 'on', false)
        OR current_user = (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = 'public.site'::regclass)
$$;
CREATE OR REPLACE FUNCTION sees_persons() RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT coalesce(current_setting('app.persons', true) = 'on', false)
        OR current_user = (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = 'public.site'::regclass)
$$;
CREATE OR REPLACE FUNCTION in_area(region text) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT starts_with(region, nullif(current_setting('app.area', true), ''))
$$;
CREATE OR REPLACE FUNCTION seen_sites() RETURNS SETOF integer LANGUAGE sql STABLE
    SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT unnest(coalesce(nullif(current_setting('app.sites', true), ''), '{}')::integer[])
    UNION SELECT id FROM site WHERE region BETWEEN rpad(nullif(current_setting('app.area', true), ''), 12, '0')
        AND rpad(nullif(current_setting('app.area', true), ''), 12, '9')
$$;
CREATE OR REPLACE FUNCTION seen_places() RETURNS SETOF integer LANGUAGE sql STABLE
    SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT p.id FROM place p WHERE p.site = ANY (ARRAY(SELECT seen_sites()))  -- arrays: by index, however many places there are
$$;
CREATE OR REPLACE FUNCTION seen_devices() RETURNS SETOF integer LANGUAGE sql STABLE
    SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT DISTINCT m.device FROM mounting m WHERE m.place = ANY (ARRAY(SELECT seen_places()))
$$;
CREATE OR REPLACE FUNCTION seen_gateways() RETURNS SETOF integer LANGUAGE sql STABLE
    SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT DISTINCT d.gateway FROM device d WHERE d.id = ANY (ARRAY(SELECT seen_devices()))
$$;
CREATE OR REPLACE FUNCTION is_mounted(device integer) RETURNS boolean LANGUAGE sql STABLE
    SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT EXISTS (SELECT FROM mounting m WHERE m.device = is_mounted.device)
$$;
CREATE OR REPLACE FUNCTION must_see(site integer, person integer) RETURNS void LANGUAGE plpgsql STABLE
    SECURITY DEFINER SET search_path = public, pg_temp AS $$
    -- For functions that do what their caller may not: raises unless a transaction may see this site, and this person there.
    -- Here current_user is the owner, so who asks is the role that was set, or the login.
DECLARE
    asks text := CASE current_setting('role') WHEN 'none' THEN session_user ELSE current_setting('role') END;
BEGIN
    IF asks <> 'smartcare_api' THEN
        RETURN;
    END IF;
    IF coalesce(current_setting('app.whole', true), '') <> 'on' AND must_see.site NOT IN (SELECT seen_sites())
        OR coalesce(current_setting('app.persons', true), '') <> 'on'
        OR must_see.person IS NOT NULL AND NOT EXISTS (SELECT FROM person p WHERE p.id = must_see.person AND p.site = must_see.site) THEN
        RAISE EXCEPTION 'site % is not in this part', must_see.site USING ERRCODE = 'insufficient_privilege';
    END IF;
END
$$;
CREATE OR REPLACE FUNCTION covers(area text) RETURNS boolean LANGUAGE sql STABLE
    SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT EXISTS (SELECT FROM site s WHERE s.id IN (SELECT seen_sites()) AND starts_with(s.region, coalesce(covers.area, '')))
$$;

-- Everything is taken back first, so that this file alone says what holds.
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC, smartcare_api;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public FROM smartcare_api;
REVOKE ALL ON FUNCTION
    seen_sites, seen_places, seen_devices, seen_gateways, is_mounted, covers, must_see, account_sites, audit_append FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    seen_sites, seen_places, seen_devices, seen_gateways, is_mounted, covers, account_sites, audit_append TO smartcare_api;
DO $$
DECLARE
    p record;
BEGIN
    FOR p IN SELECT tablename, policyname FROM pg_policies WHERE schemaname = 'public' LOOP
        EXECUTE format('DROP POLICY %I ON %I', p.policyname, p.tablename);
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION protect(name text, sees text, changes text DEFAULT NULL, rights text DEFAULT 'SELECT, INSERT, UPDATE, DELETE')
RETURNS void LANGUAGE plpgsql AS $$
    -- sees: which rows are in one's part, beside everything; changes: of those, which one may write, where that is less.
BEGIN
    IF to_regclass(name) IS NULL THEN
        RETURN;
    END IF;
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
    IF changes IS NULL THEN
        EXECUTE format('CREATE POLICY part ON %I USING (%s)', name, sees);
    ELSE
        EXECUTE format('CREATE POLICY part ON %I FOR SELECT USING (%s)', name, sees);
        EXECUTE format('CREATE POLICY change ON %I USING (%s)', name, changes);
    END IF;
    EXECUTE format('GRANT %s ON %I TO smartcare_api', rights, name);
END $$;

-- register
SELECT protect('site', '(SELECT sees_all()) OR id IN (SELECT seen_sites()) OR in_area(region)');
SELECT protect(name, '(SELECT sees_all()) OR site IN (SELECT seen_sites())')
FROM unnest(ARRAY['closure', 'place', 'site_mode']) AS name;
SELECT protect('gateway', '(SELECT sees_all()) OR id IN (SELECT seen_gateways())');
SELECT protect('device', '(SELECT sees_all()) OR id IN (SELECT seen_devices()) OR gateway IN (SELECT seen_gateways()) AND NOT is_mounted(id)');
SELECT protect('mounting', '(SELECT sees_all()) OR place IN (SELECT seen_places())');
SELECT protect('unclaimed', '(SELECT sees_all()) OR gateway IN (SELECT seen_gateways())');

-- persons
SELECT protect('person', '(SELECT sees_persons()) AND ((SELECT sees_all()) OR site IN (SELECT seen_sites()))');
SELECT protect('visit_task', '(SELECT sees_persons()) AND ((SELECT sees_all()) OR site IN (SELECT seen_sites()))');
SELECT protect('person_day', '(SELECT sees_persons()) AND ((SELECT sees_all()) OR site IN (SELECT seen_sites()))');
SELECT protect(name, '(SELECT sees_persons()) AND ((SELECT sees_all()) OR EXISTS (SELECT FROM person p WHERE p.id = person))')
FROM unnest(ARRAY['person_link', 'planned_absence', 'person_name', 'consent']) AS name;
SELECT protect('check_in', '(SELECT sees_persons()) AND ((SELECT sees_all()) OR EXISTS (SELECT FROM site s WHERE ''desk/'' || s.code = device))',
    rights => 'SELECT');
GRANT SELECT, INSERT ON erased TO smartcare_api;
GRANT EXECUTE ON FUNCTION enter_check_in TO smartcare_api;

-- what gateways could see, and roll-ups
SELECT protect(name, '(SELECT sees_all()) OR gateway IN (SELECT seen_gateways())', rights => 'SELECT')
FROM unnest(ARRAY['blind', 'coverage', 'liveness', 'loss', 'quarantine']) AS name;
SELECT protect(name, '(SELECT sees_all()) OR place IN (SELECT seen_places())', rights => 'SELECT')
FROM unnest(ARRAY['rollup_hour', 'rollup_service']) AS name;
SELECT protect('rollup_site_service', '(SELECT sees_all()) OR site IN (SELECT seen_sites())', rights => 'SELECT');

-- alerts, and telling of them
SELECT protect('site_status', '(SELECT sees_all()) OR site IN (SELECT seen_sites())');
SELECT protect('alert', '((SELECT sees_all()) OR site IN (SELECT seen_sites())) AND (subject_kind <> ''person'' OR (SELECT sees_persons()))');
SELECT protect(name, '(SELECT sees_all()) AND (SELECT sees_persons()) OR EXISTS (SELECT FROM alert a WHERE a.id = alert)')
FROM unnest(ARRAY['alert_change', 'notice', 'telling']) AS name;
SELECT protect('outbox', '(SELECT sees_all()) AND (SELECT sees_persons()) OR EXISTS (SELECT FROM alert a WHERE a.id = alert)');
SELECT protect('silence', '(SELECT sees_all()) OR site IN (SELECT seen_sites()) OR site IS NULL AND covers(area)',
    '(SELECT sees_all()) OR site IN (SELECT seen_sites()) OR site IS NULL AND in_area(area)');
SELECT protect('shift', '(SELECT sees_all()) OR site IN (SELECT seen_sites()) OR site IS NULL AND covers(area)', '(SELECT sees_all())');
SELECT protect('contact', '(SELECT sees_all()) OR EXISTS (SELECT FROM shift h WHERE h.contact = contact.id)', '(SELECT sees_all())');

-- evidence
SELECT protect(name, '(SELECT sees_all()) OR site IN (SELECT seen_sites())', rights => 'SELECT, INSERT')
FROM unnest(ARRAY['correction', 'acceptance']) AS name;
DO $$ BEGIN
    IF to_regclass('evidence_key') IS NOT NULL THEN
        GRANT SELECT (public) ON evidence_key TO smartcare_api;  -- what signs is the owner's to read
    END IF;
END $$;

-- installing
SELECT protect('walk_test', '(SELECT sees_all()) OR site IN (SELECT seen_sites())');

-- the city's own
SELECT protect(name, '(SELECT sees_all())') FROM unnest(ARRAY['data_period', 'subscription']) AS name;
SELECT protect('disclosure', '(SELECT sees_all())', rights => 'SELECT');

-- of no part: names of regions, special days, how shards and workers stand, who signs in
GRANT SELECT ON region, calendar_day, shard, worker, register_version, data_progress, maintenance, audit, audit_head TO smartcare_api;
GRANT INSERT, UPDATE, DELETE ON region, calendar_day TO smartcare_api;
GRANT UPDATE ON register_version TO smartcare_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON account, account_site, session, signin_link, api_token TO smartcare_api;
-- endpoints without what their receivers know us by
GRANT SELECT (id, name, url, enabled, kind, signer, mapping, fields, success, turn_us, alerts, codes, recipients, sender, token_url,
    fallback, failures, open_until_us, delivered_us, rotating) ON endpoint TO smartcare_api;
GRANT UPDATE (enabled, open_until_us, failures) ON endpoint TO smartcare_api;

-- the log
DROP VIEW IF EXISTS seen_event, seen_passage, seen_frame;
CREATE VIEW seen_event AS SELECT * FROM event WHERE (SELECT sees_all()) OR place IN (SELECT seen_places());
CREATE VIEW seen_passage AS SELECT * FROM passage WHERE (SELECT sees_all()) OR place IN (SELECT seen_places());
CREATE VIEW seen_frame AS SELECT * FROM frame WHERE (SELECT sees_all()) OR gateway IN (SELECT seen_gateways());
GRANT SELECT ON seen_event, seen_passage, seen_frame TO smartcare_api;
