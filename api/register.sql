-- Queries of the register's pages. %(sites)s are the sites that the reader may see; NULL reads all.

-- name: sites
SELECT s.code, s.name, s.name_en, s.kind, p.code AS parent, s.region, s.zone, s.capacity, s.hours, s.rules
FROM site s LEFT JOIN site p ON p.id = s.parent
WHERE (%(sites)s::integer[] IS NULL OR s.id = ANY(%(sites)s)) AND (%(code)s::text IS NULL OR s.code = %(code)s)
ORDER BY s.region, s.code

-- name: places
SELECT s.code AS site, p.code, p.name, p.name_en, p.room
FROM place p JOIN site s ON s.id = p.site
WHERE (%(sites)s::integer[] IS NULL OR s.id = ANY(%(sites)s)) AND (%(code)s::text IS NULL OR s.code = %(code)s)
ORDER BY s.code, p.code

-- name: devices
-- With the place where each is mounted now; those that are nowhere only where no site is asked for.
SELECT g.code AS gateway, d.identity, d.class, d.name, s.code || '/' || p.code AS place, d.alive_every_s, d.assessment
FROM device d JOIN gateway g ON g.id = d.gateway
LEFT JOIN mounting m ON m.device = d.id AND m.to_us IS NULL
LEFT JOIN place p ON p.id = m.place LEFT JOIN site s ON s.id = p.site
WHERE (%(sites)s::integer[] IS NULL OR s.id = ANY(%(sites)s)) AND (%(code)s::text IS NULL OR s.code = %(code)s)
ORDER BY s.code, p.code, g.code, d.identity

-- name: regions
SELECT code, name, name_en FROM region ORDER BY code

-- name: gateways_of
-- Gateways that serve these sites.
SELECT DISTINCT g.code FROM gateway g JOIN device d ON d.gateway = g.id JOIN mounting m ON m.device = d.id AND m.to_us IS NULL
JOIN place p ON p.id = m.place WHERE (%(sites)s::integer[] IS NULL OR p.site = ANY(%(sites)s)) ORDER BY g.code

-- name: last_pos
-- The position of a shard's last T1.
SELECT pos FROM shard WHERE id = %(shard)s
