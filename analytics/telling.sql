-- name: due_sites
-- Sites where something is to be looked at; 0 stands for alerts without a site.
SELECT site FROM telling WHERE due_us <= %(now_us)s GROUP BY site ORDER BY min(due_us) LIMIT 500

-- name: claim_site
-- One teller at a time decides about a site; the lock ends with the transaction.
SELECT pg_try_advisory_xact_lock(1950, %(site)s)

-- name: cases
-- What is to be looked at, with what soon will be; the alerts are locked, those that someone is changing are left for later.
SELECT a.id, a.version, a.rule, a.subject_kind, a.subject, a.state, a.severity, a.late, a.calm_us, a.since_us, a.count, a.reach,
       a.detected_us, a.end_us, a.assignee, t.severity AS severity_told, t.level, t.told_us, t.acted_us, t.reminders, t.inherited,
       t.over, t.due_us,
       (SELECT max(r.id) FROM alert r
        WHERE r.recurs = a.id OR (a.state = 'retracted' AND r.recurs = a.recurs AND r.id > a.id)) AS recurred_by,
       coalesce(a.reason ->> 'place', p.name, nullif(d.name, ''), d.identity, g.code, '') AS name
FROM telling t JOIN alert a ON a.id = t.alert
LEFT JOIN place p ON a.subject_kind = 'place' AND p.id = a.subject
LEFT JOIN device d ON a.subject_kind = 'device' AND d.id = a.subject
LEFT JOIN gateway g ON a.subject_kind = 'gateway' AND g.id = a.subject
WHERE t.site = %(site)s AND t.due_us <= %(until_us)s
ORDER BY a.id
FOR UPDATE OF a SKIP LOCKED

-- name: site_now
-- The site that alerts are about, and how far its clock is.
SELECT s.region, s.zone, s.hours, st.clock_us FROM site s LEFT JOIN site_status st ON st.site = s.id WHERE s.id = %(site)s

-- name: closures
-- A closure is in force unless the newest row about the same time cancels it.
SELECT from_us, to_us FROM (
    SELECT DISTINCT ON (from_us, to_us) from_us, to_us, cancelled FROM closure WHERE site = %(site)s
    ORDER BY from_us, to_us, id DESC) newest
WHERE NOT cancelled AND to_us > %(now_us)s

-- name: silences
-- Silences and maintenance windows that hold now for a site, whatever of it they match.
SELECT id, kind, rule, subject_kind, subject, severity, to_us FROM silence
WHERE from_us <= %(now_us)s AND to_us > %(now_us)s AND (site IS NULL OR site = %(site)s)
  AND (area IS NULL OR %(region)s::text LIKE area || '%%')
ORDER BY to_us DESC, id

-- name: gap
-- The site's monitoring gap that is going on.
SELECT min(id) FROM alert WHERE site = %(site)s AND rule = 'monitoring_gap' AND state IN ('open', 'acknowledged') AND calm_us IS NULL

-- name: on_duty
-- Whoever is on duty for a site: its own staff (0), the town's (1), the city's (2); and robots that hear everything (0).
SELECT CASE WHEN h.site IS NOT NULL THEN 0 WHEN length(h.area) >= 9 THEN 1 ELSE 2 END AS level, c.id AS contact, c.endpoint, c.address
FROM shift h JOIN contact c ON c.id = h.contact JOIN endpoint e ON e.id = c.endpoint
WHERE e.enabled AND h.from_us <= %(now_us)s AND coalesce(h.to_us > %(now_us)s, true)
  AND (h.site = %(site)s OR %(region)s::text LIKE h.area || '%%')
UNION
SELECT 0, NULL, e.id, '' FROM endpoint e
WHERE e.enabled AND e.alerts AND e.kind <> 'webhook' AND NOT EXISTS (SELECT FROM contact c WHERE c.endpoint = e.id)
ORDER BY 1, 2, 3

-- name: rostered
-- Whether anyone is ever on duty for a site.
SELECT EXISTS (SELECT FROM shift WHERE site = %(site)s OR %(region)s::text LIKE area || '%%')

-- name: told_of
-- Who was told of an alert, or of the one that it recurs, or is being told at this moment.
WITH RECURSIVE line AS (
    SELECT id, recurs FROM alert WHERE id = %(alert)s
    UNION SELECT a.id, a.recurs FROM alert a JOIN line l ON a.id = l.recurs),
messages AS (SELECT DISTINCT coalesce(n.under, n.id) AS id FROM notice n WHERE n.alert IN (SELECT id FROM line))
SELECT DISTINCT o.contact, o.endpoint, o.address FROM outbox o JOIN messages m ON m.id = o.notice
WHERE o.state = 'delivered' OR o.leased_until_us > %(now_us)s
ORDER BY 1, 2, 3

-- name: how_many_told
-- How many people and robots were sent a message about an alert.
SELECT count(DISTINCT (o.endpoint, o.address)) FROM outbox o
WHERE o.notice IN (SELECT coalesce(n.under, n.id) FROM notice n WHERE n.alert = %(alert)s)

-- name: last_decision
SELECT reason, detail FROM notice WHERE alert = %(alert)s ORDER BY id DESC LIMIT 1

-- name: put_notice
INSERT INTO notice (alert, version, at_us, told, reason, level, detail, under)
VALUES (%(alert)s, %(version)s, %(now_us)s, %(told)s, %(reason)s, %(level)s, %(detail)s, %(under)s)
RETURNING id

-- name: put_message
-- A notice on its way to one person or robot; two people behind one robot get it once.
INSERT INTO outbox (alert, version, endpoint, notice, contact, address, webhook_id, body, due_us)
VALUES (%(alert)s, %(version)s, %(endpoint)s, %(notice)s, %(contact)s, %(address)s, %(webhook_id)s, %(body)s, %(now_us)s)
ON CONFLICT (notice, endpoint, address) WHERE notice IS NOT NULL DO NOTHING

-- name: set_timer
-- How far people have been told, and when to look again.
UPDATE telling SET due_us = %(due_us)s, severity = %(severity_told)s, level = %(level)s, told_us = %(told_us)s,
                   reminders = %(reminders)s, inherited = %(inherited)s, over = %(over)s
WHERE alert = %(alert)s

-- name: put_off
-- Look at a site again later: deciding about it has failed.
UPDATE telling SET due_us = %(later_us)s WHERE site = %(site)s AND due_us <= %(now_us)s
