-- Visit tasks (探访) and the monthly visit rate. %(sites)s are the reader's own sites; NULL reads all.

-- name: make_visit
-- One task for an alert that people can still act on; the graver alert brings it forward.
INSERT INTO visit_task (alert, person, site, created_us, due_us)
SELECT a.id, a.subject, a.site, %(now_us)s, %(due_us)s
FROM alert a
WHERE a.rule = 'resident_absent' AND a.subject_kind = 'person' AND a.subject = %(person)s AND a.site = %(site)s
  AND a.state IN ('open', 'acknowledged')
ORDER BY a.id DESC LIMIT 1
ON CONFLICT (alert) DO UPDATE SET due_us = least(visit_task.due_us, EXCLUDED.due_us) WHERE visit_task.state = 'open'

-- name: end_visits
-- Nobody need go any more: the person was seen, or the alert was taken back.
UPDATE visit_task SET state = %(state)s, result = %(result)s, done_us = %(now_us)s, who = 'analyzer'
WHERE person = %(person)s AND site = %(site)s AND state = 'open'

-- name: alert_of_visit
-- The alert that a task was made for, locked.
SELECT a.id, a.state, a.version FROM visit_task t JOIN alert a ON a.id = t.alert
WHERE t.id = %(id)s AND (%(sites)s::integer[] IS NULL OR t.site = ANY(%(sites)s)) FOR UPDATE OF a

-- name: lock_visit
SELECT state FROM visit_task WHERE id = %(id)s FOR UPDATE

-- name: complete_visit
-- Compare-and-set: only an open task.
UPDATE visit_task SET state = 'done', result = %(result)s, note = %(note)s, done_us = %(now_us)s, who = %(who)s
WHERE id = %(id)s AND state = 'open'

-- name: visits
-- Tasks, those to be done first by when they are due, others newest first.
SELECT t.id, t.alert, t.person, s.code AS site_code, s.name AS site_name, s.name_en AS site_name_en, s.zone, t.created_us, t.due_us,
       t.state, t.result, t.note, t.done_us, t.who, a.rule, a.severity, a.reason
FROM visit_task t JOIN site s ON s.id = t.site JOIN alert a ON a.id = t.alert
WHERE (%(sites)s::integer[] IS NULL OR t.site = ANY(%(sites)s)) AND (%(id)s::bigint IS NULL OR t.id = %(id)s)
  AND (%(state)s::text IS NULL OR t.state = %(state)s)
ORDER BY t.state = 'open' DESC, CASE WHEN t.state = 'open' THEN t.due_us ELSE -t.done_us END, t.id LIMIT %(limit)s

-- name: visits_page
-- Tasks of a part of the regions, newest first, below a cursor.
SELECT t.id, t.alert, t.person, s.code AS site_code, s.name AS site_name, s.name_en AS site_name_en, s.zone, t.created_us, t.due_us,
       t.state, t.result, t.note, t.done_us, t.who, a.rule, a.severity, a.reason
FROM visit_task t JOIN site s ON s.id = t.site JOIN alert a ON a.id = t.alert
WHERE (%(sites)s::integer[] IS NULL OR t.site = ANY(%(sites)s)) AND (%(below)s::bigint IS NULL OR t.id < %(below)s)
  AND (%(state)s::text IS NULL OR t.state = %(state)s)
  AND s.region BETWEEN rpad(%(region)s, 12, '0') AND rpad(%(region)s, 12, '9')
ORDER BY t.id DESC LIMIT %(limit)s

-- name: visit_rate
-- 月探访率: residents with active consent who came to any site or were visited in the month (local dates), by home site. Someone
-- who was not found was not visited; who withdrew their consent is not counted at all.
SELECT s.code AS site_code, s.name AS site_name, s.name_en AS site_name_en, s.region, count(*) AS residents,
       count(*) FILTER (WHERE r.seen) AS seen, count(*) FILTER (WHERE r.visited) AS visited,
       count(*) FILTER (WHERE r.seen OR r.visited) AS reached
FROM (
    SELECT p.site,
        EXISTS (SELECT FROM person_day d WHERE d.person = p.id AND d.day >= %(from_day)s::date AND d.day < %(to_day)s::date) AS seen,
        EXISTS (SELECT FROM visit_task t JOIN site v ON v.id = t.site
                WHERE t.person = p.id AND t.state = 'done' AND t.result NOT IN ('seen', 'not_found')
                  AND (to_timestamp(t.done_us / 1000000) AT TIME ZONE v.zone)::date >= %(from_day)s::date
                  AND (to_timestamp(t.done_us / 1000000) AT TIME ZONE v.zone)::date < %(to_day)s::date) AS visited
    FROM person p JOIN site h ON h.id = p.site
    WHERE p.role = 'resident' AND p.consent_to_us IS NULL
      AND (to_timestamp(p.consent_from_us / 1000000) AT TIME ZONE h.zone)::date < %(to_day)s::date
      AND (%(sites)s::integer[] IS NULL OR p.site = ANY(%(sites)s)) AND h.region LIKE %(region)s || '%%') AS r
JOIN site s ON s.id = r.site
GROUP BY s.id ORDER BY s.region, s.code
