-- Queries of the page, the REST interface and the live stream. %(sites)s are the reader's own sites; NULL reads all.

-- name: create_account
-- A new account; nothing comes back when the name is taken.
INSERT INTO account (name, password, role, area) VALUES (%(name)s, %(password)s, %(role)s, %(area)s)
ON CONFLICT (name) DO NOTHING RETURNING id

-- name: accounts
-- Everyone who may sign in, with their tokens that still hold.
SELECT a.id, a.name, a.role, a.area, a.disabled, a.password IS NOT NULL AS has_password,
       ARRAY(SELECT s.code FROM account_site x JOIN site s ON s.id = x.site WHERE x.account = a.id ORDER BY s.code) AS sites,
       (SELECT max(n.seen_us) FROM session n WHERE n.account = a.id) AS seen_us,
       coalesce((SELECT jsonb_agg(jsonb_build_object('name', t.name, 'scopes', t.scopes, 'fields', t.fields,
                                                     'expires_us', t.expires_us) ORDER BY t.name)
                 FROM api_token t WHERE t.account = a.id), '[]') AS tokens
FROM account a ORDER BY a.disabled, a.name

-- name: account_name
SELECT name FROM account WHERE id = %(account)s

-- name: password_of
SELECT password FROM account WHERE id = %(account)s

-- name: assign
-- Another role and part; the sites it held are no more its.
WITH gone AS (DELETE FROM account_site WHERE account = %(account)s)
UPDATE account SET role = %(role)s, area = %(area)s WHERE id = %(account)s

-- name: drop_token
DELETE FROM api_token WHERE account = %(account)s AND name = %(name)s

-- name: end_other_sessions
-- Signed out everywhere but here.
DELETE FROM session WHERE account = %(account)s AND hash <> %(hash)s

-- name: give_sites
-- The sites that an account holds instead of a part of the regions; returns those that exist.
INSERT INTO account_site (account, site) SELECT %(account)s, id FROM site WHERE code = ANY(%(codes)s) RETURNING site

-- name: find_account
-- Who signs in with a name.
SELECT id, password FROM account WHERE name = %(name)s AND NOT disabled

-- name: account_named
-- The id behind a name, disabled or not.
SELECT id FROM account WHERE name = %(name)s

-- name: set_password
-- A new password ends the account's sessions (see end_sessions).
UPDATE account SET password = %(password)s WHERE id = %(account)s

-- name: end_sessions
-- Sign an account out everywhere.
DELETE FROM session WHERE account = %(account)s

-- name: create_link
-- A sign-in link.
INSERT INTO signin_link (hash, account, expires_us, invitation) VALUES (%(hash)s, %(account)s, %(expires_us)s, %(invitation)s)

-- name: void_links
-- Invitations of an account that were not used.
UPDATE signin_link SET used_us = %(now_us)s WHERE account = %(account)s AND invitation AND used_us IS NULL

-- name: end_links
-- Links and invitations of an account.
DELETE FROM signin_link WHERE account = %(account)s

-- name: set_disabled
UPDATE account SET disabled = %(disabled)s WHERE id = %(account)s

-- name: link_is_live
-- Whether a link can still be used; looking does not consume it.
SELECT a.name FROM signin_link l JOIN account a ON a.id = l.account
WHERE l.hash = %(hash)s AND l.invitation = %(invitation)s AND l.used_us IS NULL AND l.expires_us > %(now_us)s AND NOT a.disabled

-- name: use_link
-- Consume a link, once.
UPDATE signin_link l SET used_us = %(now_us)s FROM account a
WHERE l.hash = %(hash)s AND l.invitation = %(invitation)s AND l.used_us IS NULL AND l.expires_us > %(now_us)s AND a.id = l.account AND NOT a.disabled
RETURNING l.account

-- name: create_session
-- Start a session.
INSERT INTO session (hash, account, created_us, seen_us, expires_us)
VALUES (%(hash)s, %(account)s, %(now_us)s, %(now_us)s, %(expires_us)s)

-- name: drop_old_sessions
-- Sessions and links past every limit.
WITH links AS (DELETE FROM signin_link WHERE expires_us < %(now_us)s - 86400000000)
DELETE FROM session WHERE expires_us < %(now_us)s OR seen_us < %(idle_us)s

-- name: end_session
-- Sign out.
DELETE FROM session WHERE hash = %(hash)s

-- name: read_session
-- Whose session this is; sessions beyond their inactivity or absolute limit do not exist.
SELECT a.id AS account, a.name, a.role, a.area, account_sites(a.id) AS sites, s.seen_us FROM session s JOIN account a ON a.id = s.account
WHERE s.hash = %(hash)s AND NOT a.disabled AND s.expires_us > %(now_us)s AND s.seen_us > %(idle_us)s

-- name: touch_session
-- The session was used.
UPDATE session SET seen_us = %(now_us)s WHERE hash = %(hash)s

-- name: live_sessions
-- Which of these sessions still hold.
SELECT s.hash FROM session s JOIN account a ON a.id = s.account
WHERE s.hash = ANY(%(hashes)s) AND NOT a.disabled AND s.expires_us > %(now_us)s AND s.seen_us > %(idle_us)s
UNION ALL
SELECT t.hash FROM api_token t JOIN account a ON a.id = t.account
WHERE t.hash = ANY(%(hashes)s) AND NOT a.disabled AND t.expires_us > %(now_us)s

-- name: create_token
-- An API token.
INSERT INTO api_token (hash, account, name, scopes, fields, created_us, expires_us)
VALUES (%(hash)s, %(account)s, %(name)s, %(scopes)s, %(fields)s, %(now_us)s, %(expires_us)s)

-- name: read_token
-- Whose token this is.
SELECT a.id AS account, a.name, a.role, a.area, account_sites(a.id) AS sites, t.scopes, t.fields FROM api_token t JOIN account a ON a.id = t.account
WHERE t.hash = %(hash)s AND NOT a.disabled AND t.expires_us > %(now_us)s

-- name: sites
-- The sites the reader may see, gravest state first; a site that was never analysed is unknown. Of all of them: the one of a code,
-- those in some states, those whose names contain a word. Which they are is found first, by few columns.
WITH chosen AS MATERIALIZED (
    SELECT s.id, array_position(ARRAY['alert', 'blind', 'attention', 'unknown', 'ok', 'closed'], coalesce(st.state, 'unknown')) AS gravity,
           st.next_deadline_us AS due_us, s.name
    FROM site s JOIN region r ON r.code = s.region LEFT JOIN site_status st ON st.site = s.id
    WHERE (%(sites)s::integer[] IS NULL OR s.id = ANY(%(sites)s)) AND (%(code)s::text IS NULL OR s.code = %(code)s)
      AND (%(states)s::text[] IS NULL OR coalesce(st.state, 'unknown') = ANY(%(states)s))
      AND (%(word)s::text IS NULL OR strpos(lower(concat_ws(' ', s.name, s.name_en, r.name, r.name_en, s.code)), lower(%(word)s)) > 0)
    ORDER BY 2, 3 NULLS LAST, 4, 1 LIMIT %(limit)s OFFSET %(offset)s)
SELECT s.id, s.code, s.name, s.name_en, s.kind, s.zone, s.capacity, s.hours, s.region AS region_code,
       r.name AS region, r.name_en AS region_en, s.shard,
       coalesce(st.state, 'unknown') AS state, coalesce(st.clock_us, 0) AS clock_us, coalesce(st.next_rule, '') AS next_rule,
       st.next_deadline_us, coalesce(st.today_in, 0) AS today_in, coalesce(st.today_passages, 0) AS today_passages,
       st.last_event_us, coalesce(st.detail, '{}') AS detail, sh.failing_since_us
FROM chosen c JOIN site s ON s.id = c.id JOIN region r ON r.code = s.region JOIN shard sh ON sh.id = s.shard
LEFT JOIN site_status st ON st.site = s.id ORDER BY c.gravity, c.due_us NULLS LAST, c.name, c.id

-- name: troubles
-- How many sites are not analysed, blind, and behind, and since when.
SELECT count(*) FILTER (WHERE sh.failing_since_us IS NOT NULL) AS failing, min(sh.failing_since_us) AS failing_us,
       count(*) FILTER (WHERE st.state = 'blind') AS blind,
       count(*) FILTER (WHERE st.clock_us BETWEEN 1 AND %(behind_us)s AND st.state NOT IN ('blind', 'unknown')
                          AND sh.failing_since_us IS NULL) AS behind,
       min(st.clock_us) FILTER (WHERE st.clock_us BETWEEN 1 AND %(behind_us)s AND st.state NOT IN ('blind', 'unknown')
                          AND sh.failing_since_us IS NULL) AS behind_us
FROM site s JOIN shard sh ON sh.id = s.shard LEFT JOIN site_status st ON st.site = s.id
WHERE %(sites)s::integer[] IS NULL OR s.id = ANY(%(sites)s)

-- name: troubled
-- The first few sites with one kind of trouble, and how many there are: failing, blind, behind, or (shards) those of these shards.
SELECT s.name, s.name_en, s.zone, count(*) OVER () AS sites
FROM site s JOIN shard sh ON sh.id = s.shard LEFT JOIN site_status st ON st.site = s.id
WHERE (%(sites)s::integer[] IS NULL OR s.id = ANY(%(sites)s))
  AND CASE %(kind)s::text WHEN 'failing' THEN sh.failing_since_us IS NOT NULL WHEN 'blind' THEN coalesce(st.state = 'blind', false)
      WHEN 'behind' THEN coalesce(st.clock_us BETWEEN 1 AND %(behind_us)s AND st.state NOT IN ('blind', 'unknown')
                                  AND sh.failing_since_us IS NULL, false)
      ELSE s.shard = ANY(%(shards)s) END
ORDER BY s.id LIMIT %(limit)s

-- name: site_states
-- How many sites the reader may see are in each state.
SELECT coalesce(st.state, 'unknown'), count(*) FROM site s LEFT JOIN site_status st ON st.site = s.id
WHERE %(sites)s::integer[] IS NULL OR s.id = ANY(%(sites)s) GROUP BY 1

-- name: sites_page
-- Sites of a part of the regions the reader may see, by number after a cursor.
SELECT s.id, s.code, s.name, s.name_en, s.kind, s.zone, s.capacity, s.hours, s.region AS region_code,
       r.name AS region, r.name_en AS region_en, s.shard,
       coalesce(st.state, 'unknown') AS state, coalesce(st.clock_us, 0) AS clock_us, coalesce(st.next_rule, '') AS next_rule,
       st.next_deadline_us, coalesce(st.today_in, 0) AS today_in, coalesce(st.today_passages, 0) AS today_passages,
       st.last_event_us, coalesce(st.detail, '{}') AS detail, sh.failing_since_us
FROM site s JOIN region r ON r.code = s.region JOIN shard sh ON sh.id = s.shard LEFT JOIN site_status st ON st.site = s.id
WHERE (%(sites)s::integer[] IS NULL OR s.id = ANY(%(sites)s)) AND (%(code)s::text IS NULL OR s.code = %(code)s)
  AND s.region BETWEEN rpad(%(region)s, 12, '0') AND rpad(%(region)s, 12, '9')
  AND (%(states)s::text[] IS NULL OR coalesce(st.state, 'unknown') = ANY(%(states)s)) AND s.id > %(after)s
ORDER BY s.id LIMIT %(limit)s

-- name: devices_page
-- Devices of a part of the regions the reader may see, by number after a cursor.
SELECT d.id, d.identity, d.class AS class_, d.name, g.code AS gateway, p.code AS place, s.code AS site_code, s.region,
       d.alive_every_s::bigint * 1000000 AS alive_every_us, g.suspended,
       (SELECT max(c.through_us) FROM coverage c WHERE c.gateway = g.id) AS gateway_us,
       greatest((SELECT e.t_us FROM seen_event e WHERE e.device = d.id AND e.pos > sh.pos - 3456000000000 ORDER BY e.t_us DESC LIMIT 1),
                (SELECT e.t_us FROM seen_passage e WHERE e.device = d.id AND e.pos > sh.pos - 3456000000000 ORDER BY e.t_us DESC LIMIT 1)) AS last_us
FROM device d JOIN gateway g ON g.id = d.gateway JOIN shard sh ON sh.id = g.shard
JOIN mounting m ON m.device = d.id AND m.to_us IS NULL JOIN place p ON p.id = m.place JOIN site s ON s.id = p.site
WHERE (%(sites)s::integer[] IS NULL OR s.id = ANY(%(sites)s)) AND (%(code)s::text IS NULL OR s.code = %(code)s)
  AND s.region BETWEEN rpad(%(region)s, 12, '0') AND rpad(%(region)s, 12, '9') AND d.id > %(after)s
ORDER BY d.id LIMIT %(limit)s

-- name: latest
-- The sites where something happened last, with their latest events (newest first in detail.recent).
WITH newest AS (
    SELECT st.site, st.last_event_us AS t_us FROM site_status st
    WHERE (%(sites)s::integer[] IS NULL OR st.site = ANY(%(sites)s))
    ORDER BY t_us DESC NULLS LAST LIMIT %(limit)s
)
SELECT s.id, s.code, s.name, s.name_en, s.zone, st.detail
FROM newest n JOIN site_status st ON st.site = n.site JOIN site s ON s.id = n.site
WHERE n.t_us IS NOT NULL ORDER BY n.t_us DESC

-- name: alerts
-- Alerts the reader may see, newest first, below a cursor.
SELECT a.id, a.rule, a.subject_kind, a.subject, a.site, s.code AS site_code, s.name AS site_name, s.name_en AS site_name_en,
       r.name AS region, r.name_en AS region_en, coalesce(s.zone, 'Asia/Shanghai') AS zone,
       a.state, a.severity, a.begin_us, a.detected_us, a.end_us, a.late, a.reason, a.evidence, a.version, a.assignee,
       a.outcome, a.note, a.count, a.recurs, a.calm_us, a.reach
FROM alert a LEFT JOIN site s ON s.id = a.site LEFT JOIN region r ON r.code = s.region
WHERE (%(sites)s::integer[] IS NULL OR a.site = ANY(%(sites)s))
  AND (%(id)s::bigint IS NULL OR a.id = %(id)s)
  AND (%(of)s::text IS NULL OR s.code = %(of)s)
  AND (%(states)s::text[] IS NULL OR a.state = ANY(%(states)s))
  AND (%(region)s = '' OR s.region BETWEEN rpad(%(region)s, 12, '0') AND rpad(%(region)s, 12, '9'))
  AND (%(from_us)s::bigint IS NULL OR a.begin_us >= %(from_us)s) AND (%(to_us)s::bigint IS NULL OR a.begin_us < %(to_us)s)
  AND (%(below)s::bigint IS NULL OR a.id < %(below)s)
ORDER BY a.id DESC LIMIT %(limit)s

-- name: pending
-- Alerts that wait for someone: untaken first, the gravest first.
SELECT a.id, a.rule, a.subject_kind, a.subject, a.site, s.code AS site_code, s.name AS site_name, s.name_en AS site_name_en,
       r.name AS region, r.name_en AS region_en, coalesce(s.zone, 'Asia/Shanghai') AS zone,
       a.state, a.severity, a.begin_us, a.detected_us, a.end_us, a.late, a.reason, a.evidence, a.version, a.assignee,
       a.outcome, a.note, a.count, a.recurs, a.calm_us, a.reach
FROM alert a LEFT JOIN site s ON s.id = a.site LEFT JOIN region r ON r.code = s.region
WHERE a.state IN ('open', 'acknowledged') AND (%(sites)s::integer[] IS NULL OR a.site = ANY(%(sites)s))
ORDER BY a.state = 'acknowledged', array_position(ARRAY['urgent', 'major', 'minor'], a.severity), a.begin_us DESC, a.id DESC
LIMIT %(limit)s

-- name: pending_mark
-- One text that is another when anything about the alerts that wait has changed.
SELECT coalesce(md5(string_agg(concat_ws('/', a.id, a.version, a.count, a.reach), ' ' ORDER BY a.id)), '') FROM alert a
WHERE a.state IN ('open', 'acknowledged') AND (%(sites)s::integer[] IS NULL OR a.site = ANY(%(sites)s))

-- name: changes
-- The history of one alert.
SELECT version, at_us, who, what, why FROM alert_change WHERE alert = %(alert)s ORDER BY id

-- name: snapshot
-- Everything below this transaction is decided: a reader that stays below it skips no late commit.
SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint

-- name: alert_changes_after
-- Changes of alerts after a cursor, oldest first, for a program that follows; only decided transactions.
SELECT c.changed::text::bigint AS xid, c.id, c.alert, c.version, c.at_us, c.who, c.what, c.why
FROM alert_change c JOIN alert a ON a.id = c.alert LEFT JOIN site s ON s.id = a.site
WHERE (c.changed, c.id) > (%(xid)s::text::xid8, %(id)s::bigint) AND c.changed >= %(xid)s::text::xid8
  AND c.changed < pg_snapshot_xmin(pg_current_snapshot())
  AND (%(sites)s::integer[] IS NULL OR a.site = ANY(%(sites)s))
  AND (%(of)s::text IS NULL OR s.code = %(of)s)
  AND (%(states)s::text[] IS NULL OR a.state = ANY(%(states)s))
ORDER BY c.changed, c.id LIMIT %(limit)s

-- name: live_changes
-- What the hub has not seen: kind, id, site; and the edge to start from next time.
WITH edge AS MATERIALIZED (SELECT pg_snapshot_xmin(pg_current_snapshot()) AS xmin)
SELECT 'edge' AS kind, xmin::text::bigint AS id, NULL::integer AS site FROM edge
UNION ALL
SELECT 'alert', a.id, a.site FROM alert_change c JOIN alert a ON a.id = c.alert
WHERE c.changed >= %(after)s::text::xid8 AND c.changed < (SELECT xmin FROM edge)
UNION ALL
SELECT 'alert', a.id, a.site FROM notice n JOIN alert a ON a.id = n.alert
WHERE n.changed >= %(after)s::text::xid8 AND n.changed < (SELECT xmin FROM edge)
UNION ALL
SELECT 'site', 0, st.site FROM site_status st
WHERE st.changed >= %(after)s::text::xid8 AND st.changed < (SELECT xmin FROM edge)

-- name: sites_of_shards
-- The sites of some shards, at most one more than is asked for.
SELECT id FROM site WHERE shard = ANY(%(shards)s) LIMIT %(most)s + 1

-- name: evidence
-- The stored events an alert rests on, in their order.
WITH wanted AS (
    SELECT f.pos, f.shard, f.first + (x.value ->> 3)::integer AS ordinal
    FROM jsonb_array_elements(%(evidence)s::jsonb) x
    JOIN seen_frame f ON f.gateway = (x.value ->> 0)::integer AND f.stream = (x.value ->> 1)::bigint AND f.seq = (x.value ->> 2)::bigint
)
SELECT e.t_us, e.kind::integer AS kind, e.a, e.b, e.d_in, e.d_out, coalesce(p.name, d.name, '') AS place,
       coalesce(nullif(p.name_en, ''), p.name, d.name, '') AS place_en
FROM wanted w JOIN seen_event e ON e.pos = w.pos AND e.shard = w.shard AND e.ordinal = w.ordinal
LEFT JOIN place p ON p.id = e.place LEFT JOIN device d ON d.id = e.device
UNION ALL
SELECT e.t_us, 4, e.result, e.list_role, 0, 0, coalesce(p.name, d.name, ''), coalesce(nullif(p.name_en, ''), p.name, d.name, '')
FROM wanted w JOIN seen_passage e ON e.pos = w.pos AND e.shard = w.shard AND e.ordinal = w.ordinal
LEFT JOIN place p ON p.id = e.place LEFT JOIN device d ON d.id = e.device
ORDER BY 1

-- name: devices
-- Devices where the reader may look, with the last time each was heard, if that was within 40 days before the shard's last T1:
-- older parts of the log may be compressed.
SELECT d.id, d.identity, d.class AS class_, d.name, g.code AS gateway, p.name AS place, p.name_en AS place_en, s.code AS site_code,
       s.name AS site_name, s.name_en AS site_name_en, coalesce(s.zone, 'Asia/Shanghai') AS zone, g.suspended,
       (SELECT max(c.through_us) FROM coverage c WHERE c.gateway = g.id) AS gateway_seen_us,
       greatest((SELECT e.t_us FROM seen_event e WHERE e.device = d.id AND e.pos > sh.pos - 3456000000000 ORDER BY e.t_us DESC LIMIT 1),
                (SELECT e.t_us FROM seen_passage e WHERE e.device = d.id AND e.pos > sh.pos - 3456000000000 ORDER BY e.t_us DESC LIMIT 1)) AS last_us
FROM device d JOIN gateway g ON g.id = d.gateway JOIN shard sh ON sh.id = g.shard
LEFT JOIN mounting m ON m.device = d.id AND m.to_us IS NULL
LEFT JOIN place p ON p.id = m.place LEFT JOIN site s ON s.id = p.site
WHERE (%(sites)s::integer[] IS NULL OR s.id = ANY(%(sites)s)) AND (%(code)s::text IS NULL OR s.code = %(code)s)
ORDER BY s.name NULLS FIRST, p.name, d.identity LIMIT 2000

-- name: unclaimed
-- Devices that known gateways hear and nobody has entered.
SELECT g.code AS gateway, u.identity, u.first_us, u.last_us, u.events, u.kinds
FROM unclaimed u JOIN gateway g ON g.id = u.gateway ORDER BY u.last_us DESC LIMIT 500

-- name: footfall
-- People of a site by hour between two times.
SELECT h.hour_us, sum(h.people_in)::bigint AS people_in, sum(h.passages)::bigint AS passages
FROM rollup_hour h JOIN place p ON p.id = h.place
WHERE p.site = %(of)s AND h.hour_us >= %(from_us)s AND h.hour_us < %(to_us)s GROUP BY h.hour_us ORDER BY h.hour_us

-- name: doors
-- The door contacts that a site had between two times, and where.
SELECT p.name, p.name_en, d.id AS device, d.identity, d.class AS class_, d.gateway,
       d.alive_every_s::bigint * 1000000 AS alive_every_us, m.from_us, m.to_us
FROM place p JOIN mounting m ON m.place = p.id JOIN device d ON d.id = m.device
WHERE p.site = %(of)s AND d.class = ANY(%(classes)s) AND m.from_us < %(to_us)s AND coalesce(m.to_us > %(from_us)s, true)
ORDER BY p.id, m.from_us, d.id LIMIT %(limit)s

-- name: door_messages
-- What a contact said between two times that changes the picture, oldest first: its first and last messages, changes, and
-- messages of any kind after a silence. A row is stored after it happened, so that pos leaves out older partitions.
-- heard_us: the message of any kind before. rows_read: when it reaches the limit, earlier ones were left out.
WITH rows_of_day AS MATERIALIZED (
    (SELECT t_us, pos, ordinal, kind, a, flags FROM seen_event
     WHERE device = %(device)s AND t_us >= %(from_us)s AND t_us < %(to_us)s AND pos >= %(from_us)s - 600000000
     ORDER BY t_us DESC LIMIT %(limit)s)
    UNION ALL
    (SELECT t_us, pos, ordinal, kind, a, flags FROM seen_event
     WHERE device = %(device)s AND t_us < %(from_us)s AND t_us >= %(from_us)s - %(alive_us)s AND kind = 1
       AND pos >= %(from_us)s - %(alive_us)s - 600000000
     ORDER BY t_us DESC LIMIT 1)
), told AS (
    SELECT t_us, pos, ordinal, kind = 1 AS contact, a = 1 AS is_open, flags & 3 = 0 AS edge,
           lag(t_us) OVER (ORDER BY t_us, pos, ordinal) AS heard_us, count(*) OVER () AS rows_read,
           lag(a) OVER same IS DISTINCT FROM a OR flags & 1 = 0 AS changed, lead(t_us) OVER same IS NULL AS last
    FROM rows_of_day WINDOW same AS (PARTITION BY kind = 1 ORDER BY t_us, pos, ordinal)
)
SELECT t_us, contact, is_open, edge, heard_us, rows_read FROM told
WHERE contact AND changed OR last OR t_us - heard_us > least(%(gap_us)s, %(alive_us)s)
ORDER BY t_us, pos, ordinal

-- name: covered
-- Times in which a gateway was receiving.
SELECT from_us, through_us, stream FROM coverage
WHERE gateway = %(gateway)s AND through_us > %(from_us)s AND from_us < %(to_us)s ORDER BY from_us

-- name: blinded
-- Times in which a gateway could not hear some of its devices.
SELECT source, from_us, to_us, reason FROM blind
WHERE gateway = %(gateway)s AND from_us < %(to_us)s AND coalesce(to_us > %(from_us)s, true) ORDER BY from_us LIMIT 500

-- name: dead_letters
-- Pushes that were given up.
SELECT o.id, o.alert, o.period, o.version, e.name AS endpoint, e.enabled, o.attempts, o.last_status, o.last_error, o.done_us
FROM outbox o JOIN endpoint e ON e.id = o.endpoint
WHERE o.state = 'dead' AND (%(below)s::bigint IS NULL OR o.id < %(below)s) ORDER BY o.id DESC LIMIT %(limit)s

-- name: push_counts
-- How the outbox stands.
SELECT state, count(*) FROM outbox GROUP BY state
