-- name: lock
-- One maker at a time; whoever comes second has nothing to do.
SELECT pg_try_advisory_xact_lock(6029347) AS mine

-- name: wait_lock
SELECT pg_advisory_xact_lock(6029347)

-- name: edge
-- Everything below is decided; read before the figures, so that what commits from here on is looked at next time.
SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS edge, coalesce((SELECT seen::text FROM data_progress), '0') AS seen

-- name: advance
INSERT INTO data_progress (seen) VALUES (%(edge)s::text::xid8) ON CONFLICT (one) DO UPDATE SET seen = EXCLUDED.seen

-- name: subscriptions
-- What is subscribed to by endpoints that are on; only of one name if given.
SELECT s.id, s.endpoint, s.what, s.period, s.from_us, s.through_us, e.name
FROM subscription s JOIN endpoint e ON e.id = s.endpoint
WHERE e.enabled AND (%(name)s::text IS NULL OR e.name = %(name)s) ORDER BY s.id

-- name: subscribe
INSERT INTO subscription (endpoint, what, period, mapping, fields, from_us, through_us)
VALUES (%(endpoint)s, %(what)s, %(period)s, %(mapping)s, %(fields)s::text[], %(from_us)s, %(from_us)s)
ON CONFLICT (endpoint, what, period) DO UPDATE SET mapping = EXCLUDED.mapping, fields = EXCLUDED.fields
RETURNING id

-- name: unsubscribe
DELETE FROM subscription WHERE endpoint = %(endpoint)s AND (%(what)s::text IS NULL OR what = %(what)s)
    AND (%(period)s::text IS NULL OR period = %(period)s) RETURNING id

-- name: made_through
UPDATE subscription SET through_us = greatest(through_us, %(through_us)s) WHERE id = %(id)s

-- name: sites
-- Every site, with what a body says of it.
SELECT id, code, name, kind, region, zone FROM site ORDER BY id

-- name: changed
-- Periods a receiver was told of whose roll-ups have changed since, and those that sensors had not seen all of, now and then.
SELECT DISTINCT d.subscription, d.site, d.from_us, d.to_us
FROM (
    SELECT p.site, h.hour_us AS t_us, 'counts' AS what FROM rollup_hour h JOIN place p ON p.id = h.place
    WHERE h.changed >= %(seen)s::text::xid8 AND h.changed < %(edge)s::text::xid8
    UNION
    SELECT p.site, r.slot_us, 'service' FROM rollup_service r JOIN place p ON p.id = r.place
    WHERE r.changed >= %(seen)s::text::xid8 AND r.changed < %(edge)s::text::xid8
) AS c
JOIN subscription s ON s.what = c.what OR (s.what = 'opening' AND c.what = 'counts')
JOIN data_period d ON d.subscription = s.id AND d.site = c.site AND d.from_us <= c.t_us AND d.to_us > c.t_us
UNION
SELECT d.subscription, d.site, d.from_us, d.to_us FROM data_period d
WHERE NOT d.whole AND d.to_us > %(now_us)s - %(horizon_us)s
  AND d.looked_us + greatest(%(again_us)s, (d.looked_us - d.to_us) / 4) <= %(now_us)s

-- name: told
-- What a receiver was last told of these sites in a period.
SELECT site, id, version, digest FROM data_period
WHERE subscription = %(subscription)s AND from_us = %(from_us)s AND site = ANY(%(sites)s)

-- name: looked
UPDATE data_period SET looked_us = %(now_us)s, whole = %(whole)s WHERE id = %(id)s

-- name: put_period
-- The next version of a period: version 1, or one more than what was told.
INSERT INTO data_period (subscription, site, from_us, to_us, digest, whole, looked_us)
VALUES (%(subscription)s, %(site)s, %(from_us)s, %(to_us)s, %(digest)s, %(whole)s, %(now_us)s)
ON CONFLICT (subscription, site, from_us) DO UPDATE SET
    version = data_period.version + 1, digest = EXCLUDED.digest, whole = EXCLUDED.whole, looked_us = EXCLUDED.looked_us
RETURNING id, version

-- name: supersede
-- The newest version replaces those not sent yet. One that is on its way is left alone.
UPDATE outbox SET state = 'superseded', done_us = %(now_us)s
WHERE period = %(period)s AND version < %(version)s AND state = 'pending' AND leased_until_us <= %(now_us)s

-- name: put_outbox
INSERT INTO outbox (period, version, endpoint, webhook_id, body, due_us)
VALUES (%(period)s, %(version)s, %(endpoint)s, %(webhook_id)s, %(body)s, %(now_us)s)

-- name: counts
-- People, passages and door openings of every place of the sites, and the first and last sign of life.
SELECT p.site, p.code, p.name, p.room, coalesce(sum(h.people_in), 0)::bigint AS people_in,
       coalesce(sum(h.people_out), 0)::bigint AS people_out, coalesce(sum(h.passages), 0)::bigint AS passages,
       coalesce(sum(h.openings), 0)::bigint AS openings, min(h.first_us) AS first_us, max(h.last_us) AS last_us
FROM place p LEFT JOIN rollup_hour h ON h.place = p.id AND h.hour_us >= %(from_us)s AND h.hour_us < %(to_us)s
WHERE p.site = ANY(%(sites)s) GROUP BY p.id ORDER BY p.site, p.code

-- name: service
-- 服务人次 of the sites by service slot.
SELECT site, slot_us, served, anonymous, staff FROM rollup_site_service
WHERE site = ANY(%(sites)s) AND slot_us >= %(from_us)s AND slot_us < %(to_us)s ORDER BY 1, 2

-- name: seen
-- For how much of the period a site's gateways were receiving and not blind: the least of them. None where it has no devices.
WITH watching AS (
    SELECT DISTINCT p.site, d.gateway FROM place p JOIN mounting m ON m.place = p.id JOIN device d ON d.id = m.device
    WHERE p.site = ANY(%(sites)s) AND m.from_us < %(to_us)s AND coalesce(m.to_us > %(from_us)s, true)),
sight AS (
    SELECT w.site, w.gateway,
        coalesce((SELECT range_agg(int8range(greatest(c.from_us, %(from_us)s), least(c.through_us, %(to_us)s)))
                  FROM coverage c WHERE c.gateway = w.gateway AND c.from_us < %(to_us)s AND c.through_us > %(from_us)s), '{}')
        - coalesce((SELECT range_agg(int8range(greatest(b.from_us, %(from_us)s), least(coalesce(b.to_us, %(to_us)s), %(to_us)s)))
                    FROM blind b WHERE b.gateway = w.gateway AND b.from_us < %(to_us)s
                      AND coalesce(b.to_us > %(from_us)s AND b.to_us > b.from_us, true)), '{}') AS spans
    FROM watching w)
SELECT site, min((SELECT coalesce(sum(upper(r) - lower(r)), 0) FROM unnest(spans) AS r))::bigint AS seen_us FROM sight GROUP BY site

-- name: devices
-- The devices mounted at the sites, and when each and its gateway were last heard; a device within 40 days before the shard's
-- last T1, since older parts of the log may be compressed.
SELECT p.site, d.identity, d.name, d.class AS class_, g.code AS gateway, p.code AS place,
       d.alive_every_s::bigint * 1000000 AS alive_every_us,
       (SELECT max(c.through_us) FROM coverage c WHERE c.gateway = d.gateway) AS gateway_us,
       greatest((SELECT e.t_us FROM seen_event e WHERE e.device = d.id AND e.pos > sh.pos - 3456000000000 ORDER BY e.t_us DESC LIMIT 1),
                (SELECT e.t_us FROM seen_passage e WHERE e.device = d.id AND e.pos > sh.pos - 3456000000000 ORDER BY e.t_us DESC LIMIT 1)) AS last_us
FROM place p JOIN mounting m ON m.place = p.id AND m.to_us IS NULL JOIN device d ON d.id = m.device JOIN gateway g ON g.id = d.gateway
JOIN shard sh ON sh.id = g.shard
WHERE p.site = ANY(%(sites)s) ORDER BY p.site, g.code, d.identity
