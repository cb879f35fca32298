-- Signing and checking of what is handed on.

-- name: key
-- What signs; the owner's to read, not that of whoever answers requests.
SELECT private FROM evidence_key

-- name: public_key
SELECT public FROM evidence_key

-- name: put_key
INSERT INTO evidence_key (private, public, created_us) VALUES (%(private)s, %(public)s, %(now_us)s) ON CONFLICT DO NOTHING

-- name: put_acceptance
INSERT INTO acceptance (site, made_us, author, passed, body, signature)
VALUES (%(site)s, %(made_us)s, %(author)s, %(passed)s, %(body)s, %(signature)s) RETURNING id

-- name: acceptances
-- The newest records of a site.
SELECT a.id, s.code AS site, a.made_us, a.author, a.passed, a.body, a.signature FROM acceptance a JOIN site s ON s.id = a.site
WHERE s.code = %(code)s AND (%(own)s::integer[] IS NULL OR s.id = ANY(%(own)s)) AND (%(id)s::bigint IS NULL OR a.id = %(id)s)
ORDER BY a.id DESC LIMIT 50

-- name: known_acceptance
SELECT id FROM acceptance WHERE body = %(body)s

-- name: has_walk_tests
SELECT to_regclass('walk_test') IS NOT NULL AS there

-- name: walk_tests
-- The newest walk test of each device of a site.
SELECT DISTINCT ON (w.device) d.identity, w.seen, w.ended_us, w.author FROM walk_test w JOIN device d ON d.id = w.device
WHERE w.site = %(site)s AND w.ended_us IS NOT NULL ORDER BY w.device, w.ended_us DESC
