------------------------------------------------------------------------------------------------ register

-- name: raise_version
-- The register changed: workers poll the version, others may listen.
WITH raised AS (UPDATE register_version SET version = version + 1 RETURNING version)
SELECT pg_notify('smartcare_register', version::text) FROM raised

-- name: present_regions
SELECT code, name, name_en FROM region

-- name: present_gateways
SELECT code, shard FROM gateway

-- name: present_sites
SELECT s.code, s.name, s.name_en, s.kind, p.code AS parent, s.region, s.zone, s.capacity, s.hours, s.rules, s.shard
FROM site s LEFT JOIN site p ON p.id = s.parent

-- name: present_places
SELECT s.code || '/' || p.code AS path, s.code AS site, p.code, p.name, p.name_en, p.room
FROM place p JOIN site s ON s.id = p.site

-- name: present_devices
-- With the place where each is mounted now.
SELECT g.code AS gateway, d.identity, d.class, d.name, d.alive_every_s, d.assessment, s.code || '/' || p.code AS place
FROM device d
JOIN gateway g ON g.id = d.gateway
LEFT JOIN mounting m ON m.device = d.id AND m.to_us IS NULL
LEFT JOIN place p ON p.id = m.place
LEFT JOIN site s ON s.id = p.site

-- name: present_persons
SELECT encode(p.token, 'hex') AS token, s.code AS site, p.role, p.consent_from_us, p.consent_to_us
FROM person p JOIN site s ON s.id = p.site

-- name: present_links
SELECT g.code AS gateway, d.identity AS device, l.local_id, encode(p.token, 'hex') AS token
FROM person_link l
JOIN device d ON d.id = l.device
JOIN gateway g ON g.id = d.gateway
JOIN person p ON p.id = l.person

-- name: put_region
INSERT INTO region (code, name, name_en) VALUES (%(code)s, %(name)s, %(name_en)s)
ON CONFLICT (code) DO UPDATE SET name = EXCLUDED.name, name_en = EXCLUDED.name_en

-- name: suspend_gateway
UPDATE gateway SET suspended = %(suspended)s WHERE code = %(gateway)s

-- name: put_gateway
INSERT INTO gateway (code, shard) VALUES (%(code)s, %(shard)s)
ON CONFLICT (code) DO UPDATE SET shard = EXCLUDED.shard

-- name: put_site
INSERT INTO site (code, name, name_en, kind, parent, region, zone, capacity, hours, rules, shard)
VALUES (%(code)s, %(name)s, %(name_en)s, %(kind)s, (SELECT id FROM site WHERE code = %(parent)s), %(region)s, %(zone)s,
        %(capacity)s, %(hours)s, %(rules)s, %(shard)s)
ON CONFLICT (code) DO UPDATE SET
    name = EXCLUDED.name, name_en = EXCLUDED.name_en, kind = EXCLUDED.kind, parent = EXCLUDED.parent,
    region = EXCLUDED.region, zone = EXCLUDED.zone, capacity = EXCLUDED.capacity, hours = EXCLUDED.hours,
    rules = EXCLUDED.rules, shard = EXCLUDED.shard

-- name: move_site
-- Its gateways are on another shard than it was.
UPDATE site SET shard = %(shard)s WHERE code = %(code)s AND shard <> %(shard)s

-- name: put_place
INSERT INTO place (site, code, name, name_en, room)
VALUES ((SELECT id FROM site WHERE code = %(site)s), %(code)s, %(name)s, %(name_en)s, %(room)s)
ON CONFLICT (site, code) DO UPDATE SET name = EXCLUDED.name, name_en = EXCLUDED.name_en, room = EXCLUDED.room

-- name: put_device
-- A device that was unclaimed no longer is.
WITH claimed AS (
    DELETE FROM unclaimed
    WHERE gateway = (SELECT id FROM gateway WHERE code = %(gateway)s) AND identity = %(identity)s
)
INSERT INTO device (gateway, identity, class, name, alive_every_s, assessment)
VALUES ((SELECT id FROM gateway WHERE code = %(gateway)s), %(identity)s, %(class)s, %(name)s, %(alive_every_s)s, %(assessment)s)
ON CONFLICT (gateway, identity) DO UPDATE SET
    class = EXCLUDED.class, name = EXCLUDED.name, alive_every_s = EXCLUDED.alive_every_s, assessment = EXCLUDED.assessment

-- name: unmount
UPDATE mounting SET to_us = %(now_us)s
FROM device d JOIN gateway g ON g.id = d.gateway
WHERE mounting.device = d.id AND mounting.to_us IS NULL AND g.code = %(gateway)s AND d.identity = %(identity)s

-- name: mount
-- The first mounting of a device is valid from ever, so that its backlog counts; nothing where the place is none.
INSERT INTO mounting (device, place, from_us)
SELECT d.id, p.id,
       CASE WHEN EXISTS (SELECT 1 FROM mounting m WHERE m.device = d.id) THEN %(now_us)s::bigint ELSE 0 END
FROM device d
JOIN gateway g ON g.id = d.gateway
JOIN site s ON true
JOIN place p ON p.site = s.id AND s.code || '/' || p.code = %(place)s
WHERE g.code = %(gateway)s AND d.identity = %(identity)s

-- name: put_person
INSERT INTO person (token, site, role, consent_from_us)
VALUES (decode(%(token)s, 'hex'), (SELECT id FROM site WHERE code = %(site)s), %(role)s, %(consent_from_us)s)
ON CONFLICT (token) DO UPDATE SET site = EXCLUDED.site, role = EXCLUDED.role, consent_from_us = EXCLUDED.consent_from_us

-- name: unlink_person
DELETE FROM person_link WHERE person = (SELECT id FROM person WHERE token = decode(%(token)s, 'hex'))

-- name: link_person
INSERT INTO person_link (device, local_id, person)
SELECT d.id, %(local_id)s, p.id
FROM device d JOIN gateway g ON g.id = d.gateway, person p
WHERE g.code = %(gateway)s AND d.identity = %(device)s AND p.token = decode(%(token)s, 'hex')

-- name: is_unclaimed
SELECT 1 FROM unclaimed u JOIN gateway g ON g.id = u.gateway WHERE g.code = %(gateway)s AND u.identity = %(identity)s

-- name: mounted_device
-- A device as a row of the register, where it is mounted now.
SELECT d.class, d.name, s.code || '/' || p.code AS place, d.alive_every_s, d.assessment
FROM device d JOIN gateway g ON g.id = d.gateway JOIN mounting m ON m.device = d.id AND m.to_us IS NULL
JOIN place p ON p.id = m.place JOIN site s ON s.id = p.site WHERE g.code = %(gateway)s AND d.identity = %(identity)s

-- name: is_free
-- A device that is heard and not entered, or entered and mounted nowhere.
SELECT 1 FROM unclaimed u JOIN gateway g ON g.id = u.gateway WHERE g.code = %(gateway)s AND u.identity = %(identity)s
UNION ALL
SELECT 1 FROM device d JOIN gateway g ON g.id = d.gateway WHERE g.code = %(gateway)s AND d.identity = %(identity)s
AND NOT EXISTS (SELECT 1 FROM mounting m WHERE m.device = d.id AND m.to_us IS NULL)

-- name: two_gateways
-- Two gateways with their shards, and how many devices both have.
SELECT o.shard AS old_shard, n.shard AS new_shard,
       (SELECT count(*) FROM device a JOIN device b ON b.identity = a.identity WHERE a.gateway = o.id AND b.gateway = n.id) AS both
FROM gateway o, gateway n WHERE o.code = %(old)s AND n.code = %(new)s

-- name: hand_over_devices
-- The devices keep their ids, and with them places, totals, records that were counted, and links of persons.
UPDATE device SET gateway = (SELECT id FROM gateway WHERE code = %(new)s) WHERE gateway = (SELECT id FROM gateway WHERE code = %(old)s)

-- name: claim_all_known
-- What was unclaimed at a gateway and is its device by now.
DELETE FROM unclaimed u USING device d, gateway g
WHERE g.code = %(code)s AND u.gateway = g.id AND d.gateway = g.id AND d.identity = u.identity

------------------------------------------------------------------------------------------------ snapshot

-- name: register_version
SELECT version FROM register_version

-- name: snapshot_gateways
SELECT id, code, shard, suspended FROM gateway ORDER BY id

-- name: snapshot_devices
SELECT id, gateway, identity FROM device ORDER BY id

-- name: snapshot_mountings
SELECT device, from_us, coalesce(to_us, 9223372036854775807), place FROM mounting ORDER BY device, from_us

-- name: snapshot_persons
SELECT token, id, consent_from_us, coalesce(consent_to_us, 9223372036854775807) FROM person

-- name: snapshot_links
SELECT d.gateway, d.identity, l.local_id, p.token
FROM person_link l JOIN device d ON d.id = l.device JOIN person p ON p.id = l.person
ORDER BY d.gateway, d.identity, l.local_id

-- name: inputs_sites
SELECT shard, id, code, name, name_en, kind, zone, capacity, hours, rules FROM site WHERE shard = ANY(%(shards)s) ORDER BY id

-- name: inputs_closures
-- A closure is in force unless the newest row about the same time cancels it.
SELECT shard, site, from_us, to_us
FROM (SELECT DISTINCT ON (c.site, c.from_us, c.to_us) s.shard, c.site, c.from_us, c.to_us, c.cancelled
      FROM closure c JOIN site s ON s.id = c.site
      WHERE s.shard = ANY(%(shards)s)
      ORDER BY c.site, c.from_us, c.to_us, c.id DESC) newest
WHERE NOT cancelled
ORDER BY site, from_us, to_us

-- name: inputs_modes
-- A visit or drill is in force unless the newest row about the same time cancels it.
SELECT shard, site, from_us, to_us, mode
FROM (SELECT DISTINCT ON (m.site, m.from_us, m.to_us, m.mode) s.shard, m.site, m.from_us, m.to_us, m.mode, m.cancelled
      FROM site_mode m JOIN site s ON s.id = m.site
      WHERE s.shard = ANY(%(shards)s)
      ORDER BY m.site, m.from_us, m.to_us, m.mode, m.id DESC) newest
WHERE NOT cancelled
ORDER BY site, from_us, to_us, mode

-- name: calendar_days
SELECT date, kind, name, author FROM calendar_day ORDER BY date

-- name: put_calendar_day
INSERT INTO calendar_day (date, kind, name, author, at_us) VALUES (%(date)s, %(kind)s, %(name)s, %(author)s, %(now_us)s)
ON CONFLICT (date) DO UPDATE
SET kind = EXCLUDED.kind, name = EXCLUDED.name, author = EXCLUDED.author, at_us = EXCLUDED.at_us

-- name: zone_of_site
SELECT zone FROM site WHERE code = %(site)s

-- name: put_closure
INSERT INTO closure (site, from_us, to_us, reason, author, at_us, cancelled)
SELECT id, %(from_us)s, %(to_us)s, %(reason)s, %(author)s, %(now_us)s, %(cancelled)s FROM site WHERE code = %(site)s

-- name: put_site_mode
INSERT INTO site_mode (site, from_us, to_us, mode, reason, author, at_us, cancelled)
SELECT id, %(from_us)s, %(to_us)s, %(mode)s, %(reason)s, %(author)s, %(now_us)s, %(cancelled)s FROM site WHERE code = %(site)s

-- name: inputs_places
SELECT s.shard, p.id, p.site, p.code, p.name, p.name_en, p.room
FROM place p JOIN site s ON s.id = p.site WHERE s.shard = ANY(%(shards)s) ORDER BY p.id

-- name: inputs_devices
SELECT g.shard, d.id, d.gateway, d.identity, d.class, d.name, d.alive_every_s, coalesce(m.place, 0) AS place,
       coalesce(m.from_us, 0) AS mounted_us
FROM device d
JOIN gateway g ON g.id = d.gateway
LEFT JOIN mounting m ON m.device = d.id AND m.to_us IS NULL
WHERE g.shard = ANY(%(shards)s) ORDER BY d.id

-- name: inputs_gateways
SELECT shard, id, code FROM gateway WHERE shard = ANY(%(shards)s) ORDER BY id

-- name: inputs_persons
-- Whose consent to be missed is active, with the terminals that know them.
SELECT s.shard, p.id, p.site, p.role, p.consent_from_us,
       array(SELECT DISTINCT l.device FROM person_link l WHERE l.person = p.id ORDER BY l.device) AS devices
FROM person p JOIN site s ON s.id = p.site
WHERE s.shard = ANY(%(shards)s) AND p.consent_to_us IS NULL
  AND (NOT EXISTS (SELECT FROM consent c WHERE c.person = p.id)
       OR EXISTS (SELECT FROM consent c WHERE c.person = p.id AND c.purpose = 'absence' AND c.withdrawn_us IS NULL))
ORDER BY p.id

-- name: inputs_absences
-- An absence holds unless the newest row about the same time cancels it.
SELECT shard, person, from_us, to_us
FROM (SELECT DISTINCT ON (a.person, a.from_us, a.to_us) s.shard, a.person, a.from_us, a.to_us, a.cancelled
      FROM planned_absence a JOIN person p ON p.id = a.person JOIN site s ON s.id = p.site
      WHERE s.shard = ANY(%(shards)s) AND p.consent_to_us IS NULL
      ORDER BY a.person, a.from_us, a.to_us, a.id DESC) newest
WHERE NOT cancelled
ORDER BY person, from_us, to_us

-- name: put_absence
-- Of someone whose consent is active; nothing where there is no such person.
INSERT INTO planned_absence (person, from_us, to_us, reason, author, at_us, cancelled)
SELECT id, %(from_us)s, %(to_us)s, %(reason)s, %(author)s, %(now_us)s, %(cancelled)s
FROM person WHERE id = %(person)s AND consent_to_us IS NULL
RETURNING id

-- name: last_inputs
-- What the analyzer was last told.
SELECT body FROM inputs WHERE shard = %(shard)s ORDER BY pos DESC LIMIT 1

------------------------------------------------------------------------------------------------ shards

-- name: be_silent_no_longer
-- Of the session that holds the locks. SIGSTOP, a hung machine or a cut line cannot keep the shards from others for long.
SELECT set_config('idle_session_timeout', %(silence)s, false), set_config('lock_timeout', %(patience)s, false)

-- name: join
-- Be one of the workers that share these shards, as long as the session lasts.
SELECT pg_advisory_lock_shared(%(space)s, %(member)s)

-- name: held_locks
-- Shards that are held, and workers that live.
SELECT classid::bigint, objid::bigint FROM pg_locks
WHERE locktype = 'advisory' AND objsubid = 2 AND granted AND classid::bigint IN (%(shards)s, %(members)s)
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())

-- name: unlock
SELECT pg_advisory_unlock(%(space)s, shard) FROM unnest(%(shards)s::integer[]) AS shard

-- name: try_lock
-- Advisory lock of one shard, held by the session.
SELECT pg_try_advisory_lock(%(space)s, %(shard)s)

-- name: raise_epoch
-- At least the present second, so that a database restored from a backup begins above every epoch that gateways have seen.
-- The last column: whoever had it before, and is not us, has not given it back.
UPDATE shard SET epoch = greatest(shard.epoch + 1, extract(epoch FROM clock_timestamp())::bigint), owner = %(owner)s
FROM (SELECT id, owner FROM shard WHERE id = %(shard)s) AS last
WHERE shard.id = last.id
RETURNING shard.epoch, shard.pos, shard.analysed, last.owner NOT IN ('', %(owner)s)

-- name: give_back
-- Of these shards, those that nobody has taken since.
UPDATE shard SET owner = ''
FROM unnest(%(shard)s::smallint[], %(epoch)s::bigint[]) AS mine (id, epoch)
WHERE shard.id = mine.id AND shard.epoch = mine.epoch

-- name: blame
-- What the last owner of these shards had in hand: if it was a single message, that one is the more suspicious.
UPDATE suspect SET deaths = deaths + (in_hand = 1)::int, in_hand = 0 WHERE shard = ANY(%(shards)s) AND in_hand > 0

-- name: suspects
SELECT key, deaths FROM suspect WHERE shard = ANY(%(shards)s)

-- name: note
INSERT INTO suspect (shard, key, in_hand)
SELECT shard, key, %(together)s FROM unnest(%(shard)s::smallint[], %(key)s::bytea[]) AS now (shard, key)
ON CONFLICT (shard, key) DO UPDATE SET in_hand = EXCLUDED.in_hand

-- name: let_go
UPDATE suspect SET in_hand = 0 WHERE shard = ANY(%(shards)s) AND in_hand > 0

-- name: strike_out
DELETE FROM suspect USING unnest(%(shard)s::smallint[], %(key)s::bytea[]) AS done (shard, key)
WHERE suspect.shard = done.shard AND suspect.key = done.key AND suspect.deaths < %(deadly)s

-- name: lock_shards
-- In the order of ids, so that two workers cannot wait for each other.
SELECT id, epoch, pos FROM shard WHERE id = ANY(%(shards)s) ORDER BY id FOR UPDATE

-- name: advance_shards
UPDATE shard SET pos = moved.pos
FROM unnest(%(shard)s::smallint[], %(pos)s::bigint[], %(epoch)s::bigint[]) AS moved (id, pos, epoch)
WHERE shard.id = moved.id AND shard.epoch = moved.epoch

------------------------------------------------------------------------------------------------ T1

-- name: cursors
SELECT c.gateway, c.stream, c.seq FROM cursor c JOIN gateway g ON g.id = c.gateway WHERE g.shard = ANY(%(shards)s)

-- name: liveness_now
SELECT DISTINCT ON (l.gateway) l.gateway, l.alive
FROM liveness l JOIN gateway g ON g.id = l.gateway
WHERE g.shard = ANY(%(shards)s) ORDER BY l.gateway, l.pos DESC

-- name: blind_now
-- Spans that are still open, or that a gateway may still repeat.
SELECT b.gateway, b.source, b.from_us, b.to_us, b.reason
FROM blind b JOIN gateway g ON g.id = b.gateway
WHERE g.shard = ANY(%(shards)s) AND (b.to_us IS NULL OR b.pos > %(since_us)s)

-- name: recent_rows
-- The last rows of each device, by its own time: enough to know its totals and what it may send again.
SELECT e.device, e.t_us, e.raw_us, e.a, e.b, e.pos, e.ordinal, e.kind, e.aux, e.flags
FROM unnest(%(devices)s::int[]) AS wanted (device)
CROSS JOIN LATERAL (
    SELECT * FROM event
    WHERE event.device = wanted.device AND event.pos > %(since_us)s
    ORDER BY event.t_us DESC LIMIT 64) e
UNION ALL
SELECT p.device, p.t_us, p.raw_us, 0, 0, p.pos, p.ordinal, 4, p.method, p.flags
FROM unnest(%(devices)s::int[]) AS wanted (device)
CROSS JOIN LATERAL (
    SELECT * FROM passage
    WHERE passage.device = wanted.device AND passage.pos > %(since_us)s
    ORDER BY passage.t_us DESC LIMIT 64) p

-- name: keyed_rows
-- Rows that carry the vendor's record number, from a time on, per device.
SELECT e.device, e.kind::int, e.aux::int, e.key, CASE WHEN e.raw_us <> 0 THEN e.raw_us ELSE e.t_us END
FROM unnest(%(devices)s::int[], %(from_us)s::bigint[]) AS wanted (device, from_us)
JOIN event e ON e.device = wanted.device AND e.t_us >= wanted.from_us
WHERE e.pos > %(since_us)s AND e.flags & 256 <> 0
UNION ALL
SELECT p.device, 4, p.method::int, p.key, CASE WHEN p.raw_us <> 0 THEN p.raw_us ELSE p.t_us END
FROM unnest(%(devices)s::int[], %(from_us)s::bigint[]) AS wanted (device, from_us)
JOIN passage p ON p.device = wanted.device AND p.t_us >= wanted.from_us
WHERE p.pos > %(since_us)s AND p.flags & 256 <> 0

-- name: put_cursors
INSERT INTO cursor (gateway, stream, seq)
SELECT * FROM unnest(%(gateway)s::int[], %(stream)s::bigint[], %(seq)s::bigint[])
ON CONFLICT (gateway, stream) DO UPDATE SET seq = EXCLUDED.seq

-- name: put_loss
-- Frames that nobody has any more; the time they were received in starts where the stream was covered to.
INSERT INTO loss (gateway, pos, stream, from_seq, to_seq, from_us, to_us, reason)
VALUES (%(gateway)s, %(pos)s, %(stream)s, %(from_seq)s, %(to_seq)s,
        coalesce((SELECT through_us FROM coverage WHERE gateway = %(gateway)s AND stream = %(stream)s), %(since_us)s),
        %(to_us)s, 'frames lost')
RETURNING from_us

-- name: put_coverage
-- Extended in place, never shortened.
INSERT INTO coverage (gateway, stream, from_us, through_us, pos, shard)
SELECT * FROM unnest(%(gateway)s::int[], %(stream)s::bigint[], %(from_us)s::bigint[], %(through_us)s::bigint[],
                     %(pos)s::bigint[], %(shard)s::smallint[])
ON CONFLICT (gateway, stream) DO UPDATE SET
    through_us = greatest(coverage.through_us, EXCLUDED.through_us), pos = EXCLUDED.pos
RETURNING gateway, stream, from_us, through_us

-- name: put_blind
INSERT INTO blind (gateway, source, from_us, to_us, reason, pos, shard)
VALUES (%(gateway)s, %(source)s, %(from_us)s, %(to_us)s, %(reason)s, %(pos)s, %(shard)s)
ON CONFLICT (gateway, source, from_us) DO UPDATE SET to_us = EXCLUDED.to_us, reason = EXCLUDED.reason, pos = EXCLUDED.pos

-- name: put_liveness
INSERT INTO liveness (shard, pos, gateway, alive, at_us) VALUES (%(shard)s, %(pos)s, %(gateway)s, %(alive)s, %(at_us)s)

-- name: put_quarantine
INSERT INTO quarantine (at_us, topic, gateway, stream, seq, reason, detail, bytes)
VALUES (%(at_us)s, %(topic)s, %(gateway)s, %(stream)s, %(seq)s, %(reason)s, %(detail)s, %(data)s)

-- name: put_unclaimed
-- At most so many identities of a gateway have rows of their own; all others are counted together as '…'.
INSERT INTO unclaimed (gateway, identity, first_us, last_us, events, kinds)
SELECT %(gateway)s, CASE WHEN EXISTS (SELECT FROM unclaimed WHERE gateway = %(gateway)s AND identity = %(identity)s)
                           OR (SELECT count(*) FROM unclaimed WHERE gateway = %(gateway)s) < %(most)s
                         THEN %(identity)s ELSE '…' END,
       %(first_us)s, %(last_us)s, %(events)s, %(kinds)s
ON CONFLICT (gateway, identity) DO UPDATE SET
    first_us = least(unclaimed.first_us, EXCLUDED.first_us), last_us = greatest(unclaimed.last_us, EXCLUDED.last_us),
    events = unclaimed.events + EXCLUDED.events, kinds = unclaimed.kinds | EXCLUDED.kinds

-- name: add_rollups
-- first_us and last_us: 0 where the hour has no sign of life.
INSERT INTO rollup_hour (place, hour_us, people_in, people_out, passages, openings, events, first_us, last_us)
SELECT place, hour_us, people_in, people_out, passages, openings, events, nullif(first_us, 0), nullif(last_us, 0)
FROM unnest(%(place)s::int[], %(hour_us)s::bigint[], %(people_in)s::bigint[], %(people_out)s::bigint[],
            %(passages)s::bigint[], %(openings)s::bigint[], %(events)s::bigint[], %(first_us)s::bigint[], %(last_us)s::bigint[])
     AS added (place, hour_us, people_in, people_out, passages, openings, events, first_us, last_us)
ON CONFLICT (place, hour_us) DO UPDATE SET
    people_in = rollup_hour.people_in + EXCLUDED.people_in, people_out = rollup_hour.people_out + EXCLUDED.people_out,
    passages = rollup_hour.passages + EXCLUDED.passages, openings = rollup_hour.openings + EXCLUDED.openings,
    events = rollup_hour.events + EXCLUDED.events,
    first_us = least(rollup_hour.first_us, EXCLUDED.first_us), last_us = greatest(rollup_hour.last_us, EXCLUDED.last_us),
    changed = pg_current_xact_id()

-- name: add_service
-- 服务人次: a known person once per service slot, every anonymous passage, staff and volunteers apart; per place, and once more per
-- site, where someone who passes two terminals counts once. The arrays are distinct (place, person, quarter of an hour) with
-- their passages; person 0 is anonymous.
WITH came AS (
    SELECT c.place, p.site, p.room = 'canteen' AS canteen, service_slot(c.t_us, s.zone) AS slot_us, c.person,
           sum(c.passages)::bigint AS passages
    FROM unnest(%(place)s::int[], %(person)s::int[], %(t_us)s::bigint[], %(passages)s::bigint[]) AS c (place, person, t_us, passages)
    JOIN place p ON p.id = c.place JOIN site s ON s.id = p.site
    GROUP BY c.place, p.site, p.room, slot_us, c.person),
fresh AS (
    INSERT INTO served_person (place, slot_us, person)
    SELECT c.place, c.slot_us, c.person FROM came c JOIN person n ON n.id = c.person ORDER BY 1, 2, 3
    ON CONFLICT DO NOTHING RETURNING place, slot_us, person),
counted AS (
    SELECT f.place, c.site, f.slot_us, (n.role = 'resident')::int AS served, 0 AS anonymous, (n.role <> 'resident')::int AS staff,
           (row_number() OVER (PARTITION BY c.site, f.slot_us, f.person ORDER BY f.place) = 1
            AND NOT EXISTS (SELECT FROM place q JOIN served_person o ON o.place = q.id AND o.slot_us = f.slot_us AND o.person = f.person
                            WHERE q.site = c.site))::int AS here,
           (c.canteen AND row_number() OVER (PARTITION BY c.site, c.canteen, f.slot_us, f.person ORDER BY f.place) = 1
            AND NOT EXISTS (SELECT FROM place q JOIN served_person o ON o.place = q.id AND o.slot_us = f.slot_us AND o.person = f.person
                            WHERE q.site = c.site AND q.room = 'canteen'))::int AS meal
    FROM fresh f JOIN came c ON c.place = f.place AND c.slot_us = f.slot_us AND c.person = f.person JOIN person n ON n.id = f.person
    UNION ALL
    SELECT place, site, slot_us, passages, passages, 0, 1, canteen::int FROM came WHERE person = 0),
of_sites AS (
    INSERT INTO rollup_site_service (site, slot_us, served, anonymous, staff, meals)
    SELECT site, slot_us, sum(served * here), sum(anonymous), sum(staff * here), sum(served * meal)
    FROM counted GROUP BY site, slot_us ORDER BY 1, 2
    ON CONFLICT (site, slot_us) DO UPDATE SET
        served = rollup_site_service.served + EXCLUDED.served, anonymous = rollup_site_service.anonymous + EXCLUDED.anonymous,
        staff = rollup_site_service.staff + EXCLUDED.staff, meals = rollup_site_service.meals + EXCLUDED.meals)
INSERT INTO rollup_service (place, slot_us, served, anonymous, staff)
SELECT place, slot_us, sum(served), sum(anonymous), sum(staff) FROM counted GROUP BY place, slot_us ORDER BY 1, 2
ON CONFLICT (place, slot_us) DO UPDATE SET
    served = rollup_service.served + EXCLUDED.served, anonymous = rollup_service.anonymous + EXCLUDED.anonymous,
    staff = rollup_service.staff + EXCLUDED.staff, changed = pg_current_xact_id()

-- name: add_person_days
-- Each passage of someone known, by the local day of the site where it was.
INSERT INTO person_day (person, site, day, visits, first_us, last_us)
SELECT v.person, s.id, (to_timestamp(v.t_us / 1000000) AT TIME ZONE s.zone)::date AS day, count(*), min(v.t_us), max(v.t_us)
FROM unnest(%(person)s::int[], %(place)s::int[], %(t_us)s::bigint[]) AS v (person, place, t_us)
JOIN place p ON p.id = v.place JOIN site s ON s.id = p.site
GROUP BY v.person, s.id, day ORDER BY 1, 3, 2
ON CONFLICT (person, day, site) DO UPDATE SET
    visits = person_day.visits + EXCLUDED.visits, first_us = least(person_day.first_us, EXCLUDED.first_us),
    last_us = greatest(person_day.last_us, EXCLUDED.last_us)

-- name: put_inputs
INSERT INTO inputs (shard, pos, version, body) VALUES (%(shard)s, %(pos)s, %(version)s, %(body)s)

------------------------------------------------------------------------------------------------ reading the log

-- name: log_positions
-- Where the log of a shard has something to read.
SELECT pos FROM frame WHERE shard = %(shard)s AND pos > %(after)s AND pos <= %(through)s
UNION SELECT pos FROM inputs WHERE shard = %(shard)s AND pos > %(after)s AND pos <= %(through)s
UNION SELECT pos FROM blind WHERE shard = %(shard)s AND pos > %(after)s AND pos <= %(through)s
UNION SELECT pos FROM liveness WHERE shard = %(shard)s AND pos > %(after)s AND pos <= %(through)s
ORDER BY pos LIMIT %(limit)s

-- name: log_rows
SELECT e.pos, e.t_us, e.a, e.b, e.ordinal, d.gateway, e.device, e.place, 0, e.d_in, e.d_out, e.kind, e.aux, e.flags
FROM event e JOIN device d ON d.id = e.device
WHERE e.shard = %(shard)s AND e.pos > %(after)s AND e.pos <= %(through)s
UNION ALL
SELECT p.pos, p.t_us, p.result, p.list_role, p.ordinal, d.gateway, p.device, p.place, p.person, 0, 0, 4, p.method, p.flags
FROM passage p JOIN device d ON d.id = p.device
WHERE p.shard = %(shard)s AND p.pos > %(after)s AND p.pos <= %(through)s
ORDER BY 1, 5

-- name: log_watermarks
-- How far the frames of a range say that each stream has sent everything.
SELECT gateway, stream, max(through_us) FROM frame
WHERE shard = %(shard)s AND pos > %(after)s AND pos <= %(through)s GROUP BY gateway, stream

-- name: log_spans
-- All coverage of a shard.
SELECT gateway, stream, from_us, through_us FROM coverage WHERE shard = %(shard)s

-- name: log_coverage
SELECT gateway, stream, from_us, through_us FROM coverage
WHERE shard = %(shard)s AND pos > %(after)s AND pos <= %(through)s ORDER BY gateway, stream

-- name: log_blind
SELECT pos, gateway, source, from_us, to_us, reason FROM blind
WHERE shard = %(shard)s AND pos > %(after)s AND pos <= %(through)s ORDER BY pos, gateway, source, from_us

-- name: log_liveness
SELECT pos, gateway, alive, at_us FROM liveness
WHERE shard = %(shard)s AND pos > %(after)s AND pos <= %(through)s ORDER BY pos, gateway

-- name: log_inputs
SELECT pos, body FROM inputs WHERE shard = %(shard)s AND pos > %(after)s AND pos <= %(through)s ORDER BY pos

-- name: put_worker
-- A worker says that it lives, and whether it hears the broker; workers that died a day ago are forgotten.
WITH clock AS (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now_us),
gone AS (DELETE FROM worker USING clock WHERE owner <> %(owner)s AND at_us < now_us - 86400000000)
INSERT INTO worker (owner, at_us, broker_lost_us) SELECT %(owner)s, now_us, CASE WHEN NOT %(linked)s THEN now_us END FROM clock
ON CONFLICT (owner) DO UPDATE SET
    at_us = EXCLUDED.at_us,
    broker_lost_us = CASE WHEN NOT %(linked)s THEN coalesce(worker.broker_lost_us, EXCLUDED.at_us) END
