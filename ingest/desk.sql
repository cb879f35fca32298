-- Queries of the desk: check-ins without a face.

-- name: desks
-- The desks of these shards, their newest frame, and how far they are stored.
SELECT d.gateway, g.code, g.shard, d.since_us, d.seq, coalesce(u.seq, 0) AS stored
FROM desk d JOIN gateway g ON g.id = d.gateway LEFT JOIN cursor u ON u.gateway = d.gateway AND u.stream = %(stream)s
WHERE g.shard = ANY(%(shards)s) AND NOT g.suspended

-- name: frames
SELECT c.seq, c.device, c.method, c.t_us, c.at_us, p.token
FROM check_in c LEFT JOIN person p ON p.id = c.person
WHERE c.gateway = %(gateway)s AND c.seq > %(after)s ORDER BY c.seq LIMIT %(limit)s

-- name: forget_stored
-- Kept for three days, as gateways do, so that restoring last night's backup loses nothing.
DELETE FROM check_in WHERE gateway = %(gateway)s AND seq <= %(through)s
  AND at_us < (extract(epoch FROM now()) * 1000000)::bigint - 259200000000
