-- name: pass_on
-- What an endpoint with a fallback cannot deliver now goes there: its breaker is open, it is off, or three attempts have failed.
-- Whoever is the fallback and has the same version already is not told twice. An address is one of an endpoint, so the fallback
-- tells its own recipients.
WITH moved AS (
    UPDATE outbox o SET state = 'passed_on', done_us = %(now_us)s
    FROM endpoint e
    WHERE o.endpoint = e.id AND e.fallback IS NOT NULL AND o.state = 'pending' AND o.leased_until_us <= %(now_us)s
      AND o.period IS NULL AND (o.attempts >= %(attempts)s OR e.open_until_us > %(now_us)s OR NOT e.enabled)
    RETURNING o.alert, o.version, o.notice, o.contact, e.fallback, o.webhook_id, o.body)
INSERT INTO outbox (alert, version, notice, contact, endpoint, webhook_id, body, due_us)
SELECT alert, version, notice, contact, fallback, webhook_id || '_' || fallback, body, %(now_us)s FROM moved
ON CONFLICT DO NOTHING

-- name: claim
-- Lease the next row that is due of whatever is no robot: the lowest pending version of its alert (or data period), endpoint
-- and address, and none while another row of them is on its way, even one superseded meanwhile. Alerts go before data. Of an
-- endpoint whose breaker is half-open one row goes as the probe, and until its lease ends the breaker counts as open.
-- %(full)s: endpoints that have enough calls on the way.
WITH picked AS (
    SELECT w.id, e.id AS endpoint, e.open_until_us > 0 AS probe
    FROM endpoint e CROSS JOIN LATERAL (
        SELECT c.id, c.due_us, c.period IS NOT NULL AS data FROM outbox c
        WHERE c.endpoint = e.id AND c.state = 'pending' AND c.due_us <= %(now_us)s AND c.leased_until_us <= %(now_us)s
          AND NOT EXISTS (
              SELECT FROM outbox b
              WHERE b.alert = c.alert AND b.endpoint = c.endpoint AND b.address = c.address AND b.id <> c.id
                AND (b.leased_until_us > %(now_us)s OR (b.state = 'pending' AND b.version < c.version)))
          AND NOT EXISTS (
              SELECT FROM outbox b
              WHERE b.period = c.period AND b.endpoint = c.endpoint AND b.id <> c.id
                AND (b.leased_until_us > %(now_us)s OR (b.state = 'pending' AND b.version < c.version)))
        ORDER BY (c.period IS NOT NULL), c.due_us, c.id
        LIMIT 1
        FOR UPDATE OF c SKIP LOCKED) w
    WHERE e.enabled AND e.kind IN ('webhook', 'sms', 'email') AND e.open_until_us <= %(now_us)s
      AND e.id <> ALL (%(full)s::integer[])
    ORDER BY w.data, w.due_us, w.id
    LIMIT 1),
probing AS (
    UPDATE endpoint e SET open_until_us = %(until_us)s FROM picked p
    WHERE e.id = p.endpoint AND p.probe AND e.open_until_us <= %(now_us)s RETURNING e.id)
UPDATE outbox o SET leased_until_us = %(until_us)s
FROM picked p JOIN endpoint e ON e.id = p.endpoint
WHERE o.id = p.id AND (NOT p.probe OR EXISTS (SELECT FROM probing))
RETURNING o.id, o.webhook_id, o.body, o.mapped, o.attempts, o.alert, o.period, o.version, o.address,
    to_jsonb(e) || coalesce((
        SELECT jsonb_build_object('mapping', s.mapping, 'fields', s.fields)
        FROM data_period d JOIN subscription s ON s.id = d.subscription WHERE d.id = o.period), '{}') AS endpoint

-- name: claim_robot
-- Lease what a robot says next and take one turn of its budget: a single row while its turns suffice for all that is due,
-- else up to %(merge)s of them for one message. The turn and the leases are one statement: no crash gives a turn back.
WITH robot AS (
    SELECT e.id, greatest(e.turn_us, %(now_us)s) AS turn_us FROM endpoint e
    WHERE e.enabled AND e.kind IN ('dingtalk', 'feishu', 'wecom') AND e.turn_us <= %(now_us)s + %(spare_us)s
      AND e.open_until_us <= %(now_us)s AND e.id <> ALL (%(full)s::integer[])
      AND EXISTS (
          SELECT FROM outbox c
          WHERE c.endpoint = e.id AND c.state = 'pending' AND c.due_us <= %(now_us)s AND c.leased_until_us <= %(now_us)s
            AND NOT EXISTS (
                SELECT FROM outbox b
                WHERE b.alert = c.alert AND b.endpoint = c.endpoint AND b.address = c.address AND b.id <> c.id
                  AND (b.leased_until_us > %(now_us)s OR (b.state = 'pending' AND b.version < c.version))))
    ORDER BY e.turn_us, e.id
    LIMIT 1
    FOR UPDATE SKIP LOCKED),
waiting AS (
    SELECT c.id, c.due_us FROM outbox c JOIN robot r ON r.id = c.endpoint
    WHERE c.state = 'pending' AND c.due_us <= %(now_us)s AND c.leased_until_us <= %(now_us)s
      AND NOT EXISTS (
          SELECT FROM outbox b
          WHERE b.alert = c.alert AND b.endpoint = c.endpoint AND b.address = c.address AND b.id <> c.id
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
    RETURNING id, endpoint, webhook_id, body, mapped, attempts, alert, period, version, address, due_us),
turn AS (
    UPDATE endpoint e SET turn_us = r.turn_us + %(turn_us)s,
        open_until_us = CASE WHEN e.open_until_us > 0 THEN %(until_us)s ELSE 0 END
    FROM robot r WHERE e.id = r.id AND EXISTS (SELECT FROM taken))
SELECT t.id, t.webhook_id, t.body, t.mapped, t.attempts, t.alert, t.period, t.version, t.address, to_jsonb(e) AS endpoint
FROM taken t JOIN endpoint e ON e.id = t.endpoint ORDER BY t.due_us, t.id

-- name: keep_mapped
-- Store the receiver's own body before its first attempt, if the lease still holds.
UPDATE outbox SET mapped = %(mapped)s WHERE id = %(id)s AND leased_until_us = %(until_us)s RETURNING id

-- name: disclose
-- What is about to leave in one call, to whom, and when.
INSERT INTO disclosure (at_us, endpoint, receiver, about, version, webhook_id, fields, bytes)
SELECT %(at_us)s, %(endpoint)s, %(receiver)s, r.about, r.version, r.webhook_id, r.fields, %(bytes)s
FROM jsonb_to_recordset(%(rows)s) AS r (about text, version integer, webhook_id text, fields text[])

-- name: purge_disclosures
-- Records older than their time, at most so many at once.
WITH old AS (SELECT id FROM disclosure WHERE at_us < %(before_us)s ORDER BY at_us LIMIT %(limit)s)
DELETE FROM disclosure d USING old WHERE d.id = old.id

-- name: finish
-- Store what an attempt came to, if the lease is still ours. A row superseded meanwhile stays so unless it was delivered.
-- %(hold_us)s: the robot asked to be left alone until then (0: it did not). %(able)s: the receiver was able to answer; NULL:
-- the attempt does not tell. Calls that were under way when the breaker opened do not open it further.
WITH mine AS (
    UPDATE outbox SET
        state = CASE WHEN state = 'pending' OR %(state)s = 'delivered' THEN %(state)s ELSE state END,
        attempts = %(attempts)s, due_us = %(due_us)s, leased_until_us = 0,
        last_status = %(status)s::integer, last_error = %(error)s, done_us = coalesce(%(done_us)s::bigint, done_us)
    WHERE id = %(id)s AND leased_until_us = %(until_us)s
    RETURNING id, endpoint),
told AS (
    UPDATE endpoint SET enabled = enabled AND NOT %(disable)s, turn_us = greatest(turn_us, %(hold_us)s),
        delivered_us = CASE WHEN %(state)s = 'delivered' THEN %(now_us)s ELSE delivered_us END,
        failures = CASE WHEN %(able)s::boolean THEN 0
                        WHEN NOT %(able)s::boolean AND open_until_us IN (0, %(until_us)s) THEN failures + 1 ELSE failures END,
        open_until_us = CASE
            WHEN %(able)s::boolean THEN 0
            WHEN NOT %(able)s::boolean AND open_until_us IN (0, %(until_us)s) AND failures + 1 >= %(threshold)s
                THEN %(now_us)s + least(%(first_us)s * 2 ^ least(failures + 1 - %(threshold)s, 10), %(most_us)s)::bigint
            ELSE open_until_us END
    WHERE id IN (SELECT endpoint FROM mine)
      AND (%(disable)s OR %(hold_us)s > 0 OR NOT %(able)s::boolean OR failures > 0 OR open_until_us > 0
           OR (%(state)s = 'delivered' AND coalesce(delivered_us, 0) < %(now_us)s - 10000000)))
SELECT id FROM mine

-- name: register_endpoint
-- Add an endpoint or change what it is; one that asked for no more (410) stays off until its address changes.
INSERT INTO endpoint (name, url, secret, kind, signer, key_id, mapping, fields, success, alerts, codes, recipients, sender,
                      token_url, fallback)
VALUES (%(name)s, %(url)s, %(secret)s, %(kind)s, %(signer)s, %(key_id)s, %(mapping)s, %(fields)s::text[], %(success)s, %(alerts)s,
        %(codes)s, %(recipients)s::text[], %(sender)s, %(token_url)s, %(fallback)s)
ON CONFLICT (name) DO UPDATE SET
    url = excluded.url, secret = excluded.secret, kind = excluded.kind, signer = excluded.signer, key_id = excluded.key_id,
    mapping = excluded.mapping, fields = excluded.fields, success = excluded.success, alerts = excluded.alerts,
    codes = excluded.codes, recipients = excluded.recipients, sender = excluded.sender, token_url = excluded.token_url,
    fallback = excluded.fallback, failures = 0, open_until_us = 0,
    enabled = endpoint.enabled OR endpoint.url <> excluded.url
RETURNING id

-- name: set_secret
-- During a rotation two secrets, the new one first.
UPDATE endpoint SET secret = %(secret)s WHERE id = %(id)s

-- name: falls_back
-- Whether an endpoint is reached by following fallbacks from another.
WITH RECURSIVE next (id) AS (
    SELECT %(start)s::integer UNION SELECT e.fallback FROM endpoint e JOIN next n ON e.id = n.id WHERE e.fallback IS NOT NULL)
SELECT EXISTS (SELECT FROM next n JOIN endpoint e ON e.id = n.id WHERE e.name = %(name)s)

-- name: read_token
SELECT token, until_us, refresh, refresh_until_us FROM endpoint_token WHERE endpoint = %(endpoint)s

-- name: put_token
INSERT INTO endpoint_token (endpoint, token, until_us, refresh, refresh_until_us)
VALUES (%(endpoint)s, %(token)s, %(until_us)s, %(refresh)s, %(refresh_until_us)s)
ON CONFLICT (endpoint) DO UPDATE SET token = excluded.token, until_us = excluded.until_us, refresh = excluded.refresh,
    refresh_until_us = excluded.refresh_until_us

-- name: end_token
-- The receiver has refused what was sent with it: the next attempt fetches another.
UPDATE endpoint_token SET until_us = 0 WHERE endpoint = %(endpoint)s

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
        WHERE (n.alert = o.alert OR n.period = o.period) AND n.endpoint = o.endpoint AND n.version > o.version
          AND n.state IN ('pending', 'delivered')
    ) AS late
    FROM outbox o WHERE o.id = %(id)s AND o.state = 'dead' FOR UPDATE),
moved AS (
    UPDATE outbox o SET
        state = CASE WHEN d.late THEN 'superseded' ELSE 'pending' END, mapped = NULL, attempts = 0, due_us = %(now_us)s,
        done_us = CASE WHEN d.late THEN %(now_us)s ELSE NULL END
    FROM dead d WHERE o.id = d.id RETURNING o.id, o.state),
enabled AS (
    UPDATE endpoint SET enabled = true, failures = 0, open_until_us = 0
    WHERE id IN (SELECT endpoint FROM dead WHERE NOT late))
SELECT m.state, pg_notify('smartcare', '') FROM moved m

-- name: delivered_between
-- What an endpoint was sent: whether it was delivered, and in that time; and what the receiver names, of whatever time.
SELECT webhook_id, state = 'delivered', coalesce(done_us >= %(from_us)s AND done_us < %(to_us)s, false) FROM outbox
WHERE endpoint = %(endpoint)s AND (webhook_id = ANY(%(ids)s) OR (state = 'delivered' AND done_us >= %(from_us)s AND done_us < %(to_us)s))

-- name: endpoints
-- Every endpoint with how it stands.
SELECT e.id, e.name, e.kind, e.url, e.enabled, e.alerts, e.failures, e.open_until_us, e.delivered_us, f.name AS fallback,
       e.rotating,
       (SELECT count(*) FROM outbox o WHERE o.endpoint = e.id AND o.state = 'pending') AS waiting,
       (SELECT min(o.due_us) FROM outbox o WHERE o.endpoint = e.id AND o.state = 'pending') AS due_us,
       (SELECT count(*) FROM outbox o WHERE o.endpoint = e.id AND o.state = 'dead') AS dead,
       (SELECT o.last_error FROM outbox o WHERE o.endpoint = e.id AND o.state = 'pending' AND o.last_error <> ''
        ORDER BY o.due_us LIMIT 1) AS last_error,
       coalesce((SELECT jsonb_agg(jsonb_build_object('what', s.what, 'period', s.period, 'from_us', s.from_us,
                                                     'through_us', s.through_us) ORDER BY s.what, s.period)
                 FROM subscription s WHERE s.endpoint = e.id), '[]') AS subscriptions
FROM endpoint e LEFT JOIN endpoint f ON f.id = e.fallback ORDER BY e.name
