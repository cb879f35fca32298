-- Queries about telling people: notices, silences, the roster. %(sites)s are the reader's own sites; NULL reads all.

-- name: notices
-- Every decision about an alert, oldest first, with the message that it led to.
SELECT n.id, n.at_us, n.version, n.told, n.reason, n.level, n.detail, coalesce(n.under, n.id) AS message
FROM notice n WHERE n.alert = %(alert)s ORDER BY n.id

-- name: recipients
-- Whom messages went to, and what became of that.
SELECT o.notice AS message, coalesce(c.name, e.name) AS name, e.kind, o.state, o.attempts, o.last_error, o.done_us
FROM outbox o JOIN endpoint e ON e.id = o.endpoint LEFT JOIN contact c ON c.id = o.contact
WHERE o.notice = ANY(%(messages)s) ORDER BY o.id

-- name: next_look
-- When it is decided again whether someone is told.
SELECT due_us FROM telling WHERE alert = %(alert)s

-- name: silences
-- Silences and maintenance windows that have not expired long since, the newest first.
SELECT l.id, l.kind, l.rule, s.code AS site, s.name AS site_name, s.name_en AS site_name_en, l.area, r.name AS region_name,
       r.name_en AS region_name_en, l.subject_kind, l.subject, l.severity, l.from_us, l.to_us, l.author, l.reason, l.created_us
FROM silence l LEFT JOIN site s ON s.id = l.site LEFT JOIN region r ON r.code = rpad(l.area, 12, '0')
WHERE l.to_us > %(since_us)s
  AND (%(sites)s::integer[] IS NULL OR l.site = ANY(%(sites)s) OR (l.site IS NULL AND EXISTS (
      SELECT FROM site m WHERE m.id = ANY(%(sites)s) AND m.region LIKE coalesce(l.area, '') || '%%')))
ORDER BY l.to_us > %(now_us)s DESC, l.id DESC LIMIT 200

-- name: put_silence
INSERT INTO silence (kind, rule, site, area, subject_kind, subject, severity, from_us, to_us, author, reason, created_us)
VALUES (%(kind)s, %(rule)s, %(site)s, %(area)s, %(subject_kind)s, %(subject)s, %(severity)s, %(from_us)s, %(to_us)s, %(author)s,
        %(reason)s, %(now_us)s)
RETURNING id

-- name: expire_silence
-- A silence ends now; what it kept quiet is looked at again at once.
WITH ended AS (
    UPDATE silence SET to_us = greatest(from_us, %(now_us)s)
    WHERE id = %(id)s AND to_us > %(now_us)s
      AND (%(sites)s::integer[] IS NULL OR site = ANY(%(sites)s) OR site IS NULL AND starts_with(area, %(area)s)) RETURNING id),
again AS (
    UPDATE telling SET due_us = %(now_us)s WHERE due_us > %(now_us)s AND EXISTS (SELECT FROM ended)
      AND (SELECT n.detail -> 'silence' FROM notice n WHERE n.alert = telling.alert ORDER BY n.id DESC LIMIT 1)
          = to_jsonb(%(id)s::integer))
SELECT id, pg_notify('smartcare', '') FROM ended

-- name: contacts
SELECT c.id, c.name, a.name AS account, e.name AS endpoint, e.kind, c.address
FROM contact c JOIN endpoint e ON e.id = c.endpoint LEFT JOIN account a ON a.id = c.account ORDER BY c.name

-- name: put_contact
-- A new contact or a new way to reach one; nothing where there is no such endpoint.
INSERT INTO contact (name, account, endpoint, address)
SELECT %(name)s, (SELECT id FROM account WHERE name = %(account)s), id, %(address)s FROM endpoint WHERE name = %(endpoint)s
ON CONFLICT (name) DO UPDATE SET account = excluded.account, endpoint = excluded.endpoint, address = excluded.address
RETURNING id

-- name: shifts
-- Who is or will be on duty, or was within a week.
SELECT h.id, c.name AS contact, e.kind, s.code AS site, s.name AS site_name, s.name_en AS site_name_en, h.area,
       r.name AS region_name, r.name_en AS region_name_en, h.from_us, h.to_us,
       CASE WHEN h.site IS NOT NULL THEN 0 WHEN length(h.area) >= 9 THEN 1 ELSE 2 END AS level
FROM shift h JOIN contact c ON c.id = h.contact JOIN endpoint e ON e.id = c.endpoint LEFT JOIN site s ON s.id = h.site
LEFT JOIN region r ON r.code = rpad(h.area, 12, '0')
WHERE coalesce(h.to_us > %(since_us)s, true)
  AND (%(sites)s::integer[] IS NULL OR h.site = ANY(%(sites)s) OR EXISTS (
      SELECT FROM site m WHERE m.id = ANY(%(sites)s) AND m.region LIKE h.area || '%%'))
ORDER BY level, s.name, h.area, h.from_us, h.id LIMIT 1000

-- name: put_shift
-- Nothing where there is no such contact or site.
INSERT INTO shift (contact, site, area, from_us, to_us)
SELECT c.id, s.id, %(area)s, %(from_us)s, %(to_us)s FROM contact c LEFT JOIN site s ON s.code = %(site)s
WHERE c.name = %(contact)s AND (%(site)s::text IS NULL OR s.id IS NOT NULL)
RETURNING id

-- name: end_shift
-- Off duty from now on; a shift that has not begun is taken back.
WITH gone AS (DELETE FROM shift WHERE id = %(id)s AND from_us >= %(now_us)s RETURNING id),
ended AS (
    UPDATE shift SET to_us = %(now_us)s WHERE id = %(id)s AND from_us < %(now_us)s AND coalesce(to_us > %(now_us)s, true) RETURNING id)
SELECT id FROM gone UNION ALL SELECT id FROM ended

-- name: assignees
-- Accounts that may act on an alert.
SELECT c.name FROM account c JOIN alert a ON a.id = %(alert)s
WHERE NOT c.disabled AND c.role IN ('city', 'town', 'staff') AND (c.area = '' OR a.site = ANY(account_sites(c.id)))
ORDER BY array_position(ARRAY['staff', 'town', 'city'], c.role), c.name

-- name: site_number
SELECT id FROM site WHERE code = %(code)s

-- name: endpoints
SELECT name FROM endpoint WHERE kind <> 'webhook' OR NOT alerts ORDER BY name

-- name: regions
-- Counties and townships.
SELECT code, name, name_en FROM region WHERE code LIKE '%%000' ORDER BY code
