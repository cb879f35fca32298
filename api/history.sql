-- Queries of the alerts' history and of devices' health. %(sites)s are the sites that the reader may see; NULL reads all.

-- name: history
-- Alerts newest first, below a cursor, narrowed down.
SELECT a.id, a.rule, a.subject_kind, a.subject, a.site, s.code AS site_code, s.name AS site_name, s.name_en AS site_name_en,
       r.name AS region, r.name_en AS region_en, coalesce(s.zone, 'Asia/Shanghai') AS zone,
       a.state, a.severity, a.begin_us, a.detected_us, a.end_us, a.late, a.reason, a.evidence, a.version, a.assignee,
       a.outcome, a.note, a.count, a.recurs, a.calm_us, a.reach
FROM alert a LEFT JOIN site s ON s.id = a.site LEFT JOIN region r ON r.code = s.region
WHERE (%(sites)s::integer[] IS NULL OR a.site = ANY(%(sites)s))
  AND (%(of)s::text IS NULL OR s.code = %(of)s)
  AND (%(states)s::text[] IS NULL OR a.state = ANY(%(states)s))
  AND (%(rule)s::text IS NULL OR a.rule = %(rule)s)
  AND (%(severity)s::text IS NULL OR a.severity = %(severity)s)
  AND (%(from_us)s::bigint IS NULL OR a.begin_us >= %(from_us)s)
  AND (%(to_us)s::bigint IS NULL OR a.begin_us < %(to_us)s)
  AND (%(below)s::bigint IS NULL OR a.id < %(below)s)
ORDER BY a.id DESC LIMIT %(limit)s

-- name: device_troubles
-- What is wrong with devices at present, the newest first.
SELECT a.subject AS device, a.id AS alert, a.rule, a.severity FROM alert a
WHERE a.subject_kind = 'device' AND a.state IN ('open', 'acknowledged')
  AND (%(sites)s::integer[] IS NULL OR a.site = ANY(%(sites)s)) ORDER BY a.id DESC LIMIT 5000

-- name: device_own_limits
SELECT id, alive_every_s FROM device WHERE alive_every_s IS NOT NULL
