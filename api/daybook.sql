-- Queries about days and sites that are not as usual, for the page and the REST interface.

-- name: entries
-- Closures, visits and drills of a site that are in force and touch a span: the newest row about the same time decides.
SELECT mode, from_us, to_us, reason, author, at_us
FROM (SELECT DISTINCT ON (c.from_us, c.to_us) 'closed' AS mode, c.from_us, c.to_us, c.reason, c.author, c.at_us, c.cancelled
      FROM closure c WHERE c.site = %(site)s ORDER BY c.from_us, c.to_us, c.id DESC) closures
WHERE NOT cancelled AND from_us < %(to_us)s AND to_us > %(from_us)s
UNION ALL
SELECT mode, from_us, to_us, reason, author, at_us
FROM (SELECT DISTINCT ON (m.from_us, m.to_us, m.mode) m.mode, m.from_us, m.to_us, m.reason, m.author, m.at_us, m.cancelled
      FROM site_mode m WHERE m.site = %(site)s ORDER BY m.from_us, m.to_us, m.mode, m.id DESC) modes
WHERE NOT cancelled AND from_us < %(to_us)s AND to_us > %(from_us)s
ORDER BY from_us, to_us, mode

-- name: on_duty
-- Who is on duty now for a site: its own people first, then the town's and the city's.
SELECT h.id, c.name AS contact, e.kind, s.code AS site, s.name AS site_name, s.name_en AS site_name_en, h.area,
       r.name AS region_name, r.name_en AS region_name_en, h.from_us, h.to_us,
       CASE WHEN h.site IS NOT NULL THEN 0 WHEN length(h.area) >= 9 THEN 1 ELSE 2 END AS level
FROM shift h JOIN contact c ON c.id = h.contact JOIN endpoint e ON e.id = c.endpoint LEFT JOIN site s ON s.id = h.site
LEFT JOIN region r ON r.code = rpad(h.area, 12, '0')
WHERE h.from_us <= %(now_us)s AND coalesce(h.to_us > %(now_us)s, true)
  AND (h.site = %(site)s OR (SELECT m.region FROM site m WHERE m.id = %(site)s) LIKE h.area || '%%')
ORDER BY level, h.from_us, h.id LIMIT 50
