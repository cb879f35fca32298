-- name: claim
-- Lease the next row of a webhook that is due: the lowest pending version of its alert and endpoint, and none while another
-- row of them is on its way, even one superseded meanwhile. %(full)s: endpoints that have enough calls on the way.
UPDATE outbox o SET leased_until_us = %(until_us)s
FROM endpoint e
WHERE e.id = o.endpoint AND o.id = (
    SELECT c.id FROM outbox c JOIN endpoint ce ON ce.id = c.endpoint
    WHERE c.state = 'pending' AND c.due_us <= %(now_us)s AND c.leased_until_us <= %(now_us)s
      AND ce.enabled AND ce.kind = 'webhook' AND c.endpoint <> ALL (%(full)s::integer[])
      AND NOT EXISTS (
          SELECT FROM outbox b
          WHERE b.alert = c.alert AND b.endpoint = c.endpoint AND b.id <> c.id
            AND (b.leased_until_us > %(now_us)s OR (b.state = 'pending' AND b.version < c.version)))
    ORDER BY c.due_us, c.id
    LIMIT 1
    FOR UPDATE OF c SKIP LOCKED)
RETURNING o.id, o.webhook_id, o.body, o.mapped, o.attempts, to_jsonb(e) AS endpoint

-- name: claim_robot
-- Lease what a robot says next and take one turn of its budget: a single row while its turns suffice for all that is due,
-- else up to %(merge)s of them for one message. The turn and the leases are one statement: no crash gives a turn back.
WITH robot AS (
    SELECT e.id, greatest(e.turn_us, %(now_us)s) AS turn_us FROM endpoint e
    WHERE e.enabled AND e.kind <> 'webhook' AND e.turn_us <= %(now_us)s + %(spare_us)s AND e.id <> ALL (%(full)s::integer[])
      AND EXISTS (
          SELECT FROM outbox c
          WHERE c.endpoint = e.id AND c.state = 'pending' AND c.due_us <= %(now_us)s AND c.leased_until_us <= %(now_us)s
            AND NOT EXISTS (
                SELECT FROM outbox b
                WHERE b.alert = c.alert AND b.endpoint = c.endpoint AND b.id <> c.id
                  AND (b.leased_until_us > %(now_us)s OR (b.state = 'pending' AND b.version < c.version))))
    ORDER BY e.turn_us, e.id
    LIMIT 1
    FOR UPDATE SKIP LOCKED),
waiting AS (
    SELECT c.id, c.due_us FROM outbox c JOIN robot r ON r.id = c.endpoint
    WHERE c.state = 'pending' AND c.due_us <= %(now_us)s AND c.leased_until_us <= %(now_us)s
      AND NOT EXISTS (
          SELECT FROM outbox b
          WHERE b.alert = c.alert AND b.endpoint = c.endpoint AND b.id <> c.id
            AND (b.leased_until_us > %(now_us)s OR (b.state = 'pending' AND b.version < c.version)))
    ORDER BY c.due_us, c.id
    LIMIT %(merge)s
    FOR UPDATE OF c SKIP LOCKED),
taken AS (
    UPDATE outbox SET leased_until_us = %(until_us)s
    WHERE id IN (
        SELECT w.id FROM waiting w ORDER BY w.due_us, w.id
        LIMIT (SELECT CASE WHEN count(*) <= (SELECT (%(now_us)s + %(spare_us)s - r.turn_us) / %(turn_us)s + 1 FROM robot r)
                           THEN 1 ELSE %(merge)s END FROM waiting))
    RETURNING id, endpoint, webhook_id, body, mapped, attempts, due_us),
turn AS (
    UPDATE endpoint e SET turn_us = r.turn_us + %(turn_us)s FROM robot r WHERE e.id = r.id AND EXISTS (SELECT FROM taken))
SELECT t.id, t.webhook_id, t.body, t.mapped, t.attempts, to_jsonb(e) AS endpoint
FROM taken t JOIN endpoint e ON e.id = t.endpoint ORDER BY t.due_us, t.id

-- name: keep_mapped
-- Store the receiver's own body before its first attempt, if the lease still holds.
UPDATE outbox SET mapped = %(mapped)s WHERE id = %(id)s AND leased_until_us = %(until_us)s RETURNING id

-- name: finish
-- Store what an attempt came to, if the lease is still ours. A row superseded meanwhile stays so unless it was delivered.
-- %(hold_us)s: the robot asked to be left alone until then (0: it did not).
WITH mine AS (
    UPDATE outbox SET
        state = CASE WHEN state = 'pending' OR %(state)s = 'delivered' THEN %(state)s ELSE state END,
        attempts = %(attempts)s, due_us = %(due_us)s, leased_until_us = 0,
        last_status = %(status)s::integer, last_error = %(error)s, done_us = coalesce(%(done_us)s::bigint, done_us)
    WHERE id = %(id)s AND leased_until_us = %(until_us)s
    RETURNING id, endpoint),
told AS (
    UPDATE endpoint SET enabled = enabled AND NOT %(disable)s, turn_us = greatest(turn_us, %(hold_us)s)
    WHERE (%(disable)s OR %(hold_us)s > 0) AND id IN (SELECT endpoint FROM mine))
SELECT id FROM mine

-- name: register_endpoint
-- Add an endpoint or change what it is; one that asked for no more (410) stays off until its address changes.
INSERT INTO endpoint (name, url, secret, kind, signer, key_id, mapping, fields, success)
VALUES (%(name)s, %(url)s, %(secret)s, %(kind)s, %(signer)s, %(key_id)s, %(mapping)s, %(fields)s::text[], %(success)s)
ON CONFLICT (name) DO UPDATE SET
    url = excluded.url, secret = excluded.secret, kind = excluded.kind, signer = excluded.signer, key_id = excluded.key_id,
    mapping = excluded.mapping, fields = excluded.fields, success = excluded.success,
    enabled = endpoint.enabled OR endpoint.url <> excluded.url
RETURNING id

-- name: find_endpoint
SELECT to_jsonb(e) FROM endpoint e WHERE name = %(name)s

-- name: newest_alert
-- The newest alert that has a change, and what that was.
SELECT alert, what FROM alert_change ORDER BY alert DESC, version DESC LIMIT 1

-- name: send_again
-- A dead letter waits once more, from the first attempt on, as the endpoint is configured now; an endpoint that had asked for
-- no more (410) is on again. One whose alert has a newer version that is delivered or waiting is superseded instead.
WITH dead AS (
    SELECT o.id, o.endpoint, EXISTS (
        SELECT FROM outbox n
        WHERE n.alert = o.alert AND n.endpoint = o.endpoint AND n.version > o.version AND n.state IN ('pending', 'delivered')
    ) AS late
    FROM outbox o WHERE o.id = %(id)s AND o.state = 'dead' FOR UPDATE),
moved AS (
    UPDATE outbox o SET
        state = CASE WHEN d.late THEN 'superseded' ELSE 'pending' END, mapped = NULL, attempts = 0, due_us = %(now_us)s,
        done_us = CASE WHEN d.late THEN %(now_us)s ELSE NULL END
    FROM dead d WHERE o.id = d.id RETURNING o.id, o.state),
enabled AS (
    UPDATE endpoint SET enabled = true WHERE id IN (SELECT endpoint FROM dead WHERE NOT late))
SELECT m.state, pg_notify('smartcare', '') FROM moved m
