-- name: claim
-- Lease the next row that is due: the lowest pending version of its alert and endpoint, and none while another row of
-- them is on its way, even one superseded meanwhile. %(full)s: endpoints that have enough calls on the way.
UPDATE outbox o SET leased_until_us = %(until_us)s
FROM endpoint e
WHERE e.id = o.endpoint AND o.id = (
    SELECT c.id FROM outbox c JOIN endpoint ce ON ce.id = c.endpoint
    WHERE c.state = 'pending' AND c.due_us <= %(now_us)s AND c.leased_until_us <= %(now_us)s
      AND ce.enabled AND c.endpoint <> ALL (%(full)s::integer[])
      AND NOT EXISTS (
          SELECT FROM outbox b
          WHERE b.alert = c.alert AND b.endpoint = c.endpoint AND b.id <> c.id
            AND (b.leased_until_us > %(now_us)s OR (b.state = 'pending' AND b.version < c.version)))
    ORDER BY c.due_us, c.id
    LIMIT 1
    FOR UPDATE OF c SKIP LOCKED)
RETURNING o.id, o.endpoint, o.webhook_id, o.body, o.attempts, e.url, e.secret

-- name: finish
-- Store what an attempt came to, if the lease is still ours. A row superseded meanwhile stays so unless it was delivered.
WITH mine AS (
    UPDATE outbox SET
        state = CASE WHEN state = 'pending' OR %(state)s = 'delivered' THEN %(state)s ELSE state END,
        attempts = %(attempts)s, due_us = %(due_us)s, leased_until_us = 0,
        last_status = %(status)s::integer, last_error = %(error)s, done_us = coalesce(%(done_us)s::bigint, done_us)
    WHERE id = %(id)s AND leased_until_us = %(until_us)s
    RETURNING id, endpoint),
disabled AS (
    UPDATE endpoint SET enabled = false WHERE %(disable)s AND id IN (SELECT endpoint FROM mine))
SELECT id FROM mine

-- name: register_endpoint
-- Add an endpoint or change its address and secret; one that asked for no more (410) stays off until its address changes.
INSERT INTO endpoint (name, url, secret) VALUES (%(name)s, %(url)s, %(secret)s)
ON CONFLICT (name) DO UPDATE SET url = excluded.url, secret = excluded.secret,
    enabled = endpoint.enabled OR endpoint.url <> excluded.url
RETURNING id
