-- name: alerts_of_subject
-- The alerts of one (rule, subject) that findings about these episodes can concern, locked, oldest first: those that cover an
-- episode, those going on, and the newest that was cleared: a new one may recur it.
SELECT id, version, state, episode, last_episode, count, calm_us, since_us, end_us, severity, reason, recurs FROM alert
WHERE rule = %(rule)s AND subject_kind = %(kind)s AND subject = %(subject)s
  AND (episode = ANY(%(episodes)s) OR last_episode = ANY(%(episodes)s) OR state IN ('open', 'acknowledged') OR episode = (
      SELECT max(episode) FROM alert
      WHERE rule = %(rule)s AND subject_kind = %(kind)s AND subject = %(subject)s AND state = 'cleared'))
ORDER BY episode
FOR UPDATE

-- name: find_alert_by_id
-- An alert by its number, locked.
SELECT id, state, version, site FROM alert WHERE id = %(id)s FOR UPDATE

-- name: open_alert
-- A new episode; nothing where the episode is known already.
INSERT INTO alert (shard, rule, subject_kind, subject, site, episode, last_episode, count, recurs, state, severity, begin_us,
                   detected_us, end_us, calm_us, since_us, late, reason, evidence)
VALUES (%(shard)s, %(rule)s, %(kind)s, %(subject)s, %(site)s, %(episode)s, %(last_episode)s, %(count)s, %(recurs)s, %(state)s,
        %(severity)s, %(begin_us)s, %(now_us)s, %(end_us)s, %(calm_us)s, %(since_us)s, %(late)s, %(reason)s, %(evidence)s)
ON CONFLICT (rule, subject_kind, subject, episode) DO NOTHING
RETURNING id

-- name: save_alert
-- What findings made of an alert. Compare-and-set by version; no row where someone was faster.
UPDATE alert SET
    state = %(state)s, version = version + 1, severity = %(severity)s, reason = %(reason)s, count = %(count)s,
    last_episode = %(last_episode)s, calm_us = %(calm_us)s, since_us = %(since_us)s, end_us = %(end_us)s
WHERE id = %(id)s AND version = %(version)s
RETURNING version

-- name: change_alert
-- What a person or a timer made of an alert. Compare-and-set by version; no row where someone was faster.
UPDATE alert SET
    state = %(state)s,
    version = version + 1,
    end_us = coalesce(%(end_us)s, end_us),
    assignee = coalesce(%(assignee)s, assignee),
    outcome = coalesce(%(outcome)s, outcome),
    note = coalesce(%(note)s, note),
    reach = coalesce(%(reach)s, reach)
WHERE id = %(id)s AND version = %(version)s
RETURNING version

-- name: open_nobody_reached
-- The alert that nobody could be reached about another one; its episode is that alert's number.
INSERT INTO alert (shard, rule, subject_kind, subject, site, episode, state, severity, begin_us, detected_us, reason)
SELECT shard, 'nobody_reached', subject_kind, subject, site, id, 'open', 'urgent', %(now_us)s, %(now_us)s,
       jsonb_build_object('code', 'nobody_reached', 'alert', id, 'of_rule', rule, 'told', %(told)s::integer)
FROM alert WHERE id = %(id)s
ON CONFLICT (rule, subject_kind, subject, episode) DO NOTHING
RETURNING id

-- name: nobody_reached_about
-- The alert of `open_nobody_reached` about another one, while it goes on.
SELECT n.id FROM alert a JOIN alert n
    ON n.rule = %(rule)s AND n.subject_kind = a.subject_kind AND n.subject = a.subject AND n.episode = a.id
WHERE a.id = %(alert)s AND n.state IN ('open', 'acknowledged')

-- name: look_again
-- Set an alert's timer: what to tell people is decided by whoever comes for it (analytics/telling.py).
INSERT INTO telling (alert, site, due_us, acted_us)
SELECT id, coalesce(site, 0), %(now_us)s, CASE WHEN %(acted)s THEN %(now_us)s::bigint END FROM alert WHERE id = %(alert)s
ON CONFLICT (alert) DO UPDATE SET
    due_us = least(telling.due_us, EXCLUDED.due_us),
    acted_us = coalesce(EXCLUDED.acted_us, telling.acted_us),
    reminders = CASE WHEN %(acted)s THEN 0 ELSE telling.reminders END

-- name: inherit_telling
-- Whoever was told of the alert that a new one recurs, and not that it is over, knows of the new one too.
INSERT INTO telling (alert, site, severity, level, told_us, inherited)
SELECT %(alert)s, site, severity, level, told_us, true FROM telling
WHERE alert = %(recurs)s AND severity IS NOT NULL AND NOT over AND NOT EXISTS (
    SELECT FROM alert r JOIN telling t ON t.alert = r.id
    WHERE r.recurs = %(recurs)s AND r.id <> %(alert)s AND (t.over OR r.state = 'resolved'))

-- name: withdraw
-- Take back what was to be said of an alert that is taken over or has ended, and was not said. A message about several goes as
-- long as one of them is still open. One that is on its way is not tried again.
UPDATE outbox o SET state = 'superseded', done_us = %(now_us)s
FROM notice n
WHERE o.state = 'pending' AND o.notice = n.id AND n.reason IN ('new', 'risen', 'escalated', 're_notify')
  AND n.id IN (SELECT coalesce(m.under, m.id) FROM notice m WHERE m.alert = %(alert)s)
  AND NOT EXISTS (
      SELECT FROM notice m JOIN alert a ON a.id = m.alert WHERE (m.id = n.id OR m.under = n.id) AND a.state = 'open')

-- name: log_change
-- Every change a row: who, when, why.
INSERT INTO alert_change (alert, version, at_us, who, what, why)
VALUES (%(alert)s, %(version)s, %(at_us)s, %(who)s, %(what)s, %(why)s)

-- name: snapshot
-- What an endpoint is told of an alert.
SELECT a.id, a.version, a.rule, a.state, a.severity, a.subject_kind, a.begin_us, a.detected_us, a.end_us, a.late, a.reason,
       a.outcome, a.note, s.code AS site_code, s.name AS site_name, s.region AS site_region,
       coalesce(s.zone, 'Asia/Shanghai') AS zone,
       CASE a.subject_kind WHEN 'site' THEN s.code WHEN 'place' THEN p.code WHEN 'device' THEN d.identity
                           WHEN 'gateway' THEN g.code END AS subject_code,
       CASE a.subject_kind WHEN 'site' THEN s.name WHEN 'place' THEN p.name WHEN 'device' THEN d.name
                           WHEN 'gateway' THEN g.code END AS subject_name
FROM alert a
LEFT JOIN site s ON s.id = a.site
LEFT JOIN place p ON a.subject_kind = 'place' AND p.id = a.subject
LEFT JOIN device d ON a.subject_kind = 'device' AND d.id = a.subject
LEFT JOIN gateway g ON a.subject_kind = 'gateway' AND g.id = a.subject
WHERE a.id = %(id)s

-- name: supersede
-- A version is a snapshot: the newest replaces unsent older ones, where it is sent at all. One that is on its way is left alone.
UPDATE outbox SET state = 'superseded', done_us = %(now_us)s
WHERE alert = %(alert)s AND version < %(version)s AND notice IS NULL AND state = 'pending' AND leased_until_us <= %(now_us)s
  AND endpoint IN (SELECT id FROM endpoint WHERE enabled AND alerts AND kind = 'webhook')

-- name: enabled_endpoints
-- Platforms: they are told every version, of a person's alerts only with consent to that (without any row of consent: to everything,
-- by an import). Robots and people are told notices.
SELECT id FROM endpoint WHERE enabled AND alerts AND kind = 'webhook' AND NOT EXISTS (
    SELECT FROM alert a WHERE a.id = %(alert)s AND a.subject_kind = 'person'
      AND EXISTS (SELECT FROM consent c WHERE c.person = a.subject)
      AND NOT EXISTS (SELECT FROM consent c WHERE c.person = a.subject AND c.purpose = 'platform' AND c.withdrawn_us IS NULL))
ORDER BY id

-- name: put_outbox
INSERT INTO outbox (alert, version, endpoint, webhook_id, body, due_us)
VALUES (%(alert)s, %(version)s, %(endpoint)s, %(webhook_id)s, %(body)s, %(now_us)s)
ON CONFLICT (alert, version, endpoint) WHERE notice IS NULL DO NOTHING

-- name: trace_evidence
-- Where a stored event came from: gateway, stream, seq and its number in the frame.
SELECT gateway, stream, seq, %(ordinal)s - first FROM frame
WHERE pos = %(pos)s AND shard = %(shard)s AND first <= %(ordinal)s AND %(ordinal)s < first + events
LIMIT 1

-- name: trace_span
-- Where the newest events of a site, place, device or person in a span of time came from. Rows are stored after they happened,
-- but for clocks that are a little ahead; that keeps us to the partitions that can have them.
WITH devices AS (
    SELECT DISTINCT m.device FROM mounting m JOIN place p ON p.id = m.place
    WHERE CASE %(kind)s WHEN 'site' THEN p.site WHEN 'place' THEN p.id WHEN 'device' THEN m.device END = %(subject)s
      AND m.from_us <= %(to_us)s AND (m.to_us IS NULL OR m.to_us > %(from_us)s)
),
mine AS (
    SELECT e.t_us, e.pos, e.shard, e.ordinal FROM event e
    WHERE e.device IN (SELECT device FROM devices) AND e.t_us BETWEEN %(from_us)s AND %(to_us)s AND NOT %(strangers)s
      AND e.pos >= %(from_us)s - 600000000 AND e.shard = %(shard)s
    UNION ALL
    SELECT e.t_us, e.pos, e.shard, e.ordinal FROM passage e
    WHERE e.device IN (SELECT device FROM devices) AND e.t_us BETWEEN %(from_us)s AND %(to_us)s
      AND (NOT %(strangers)s OR e.result = 3) AND e.pos >= %(from_us)s - 600000000 AND e.shard = %(shard)s
    UNION ALL
    SELECT e.t_us, e.pos, e.shard, e.ordinal FROM passage e
    WHERE %(kind)s = 'person' AND e.person = %(subject)s AND e.person <> 0 AND e.t_us BETWEEN %(from_us)s AND %(to_us)s
      AND e.pos >= %(from_us)s - 600000000
),
newest AS (SELECT * FROM mine ORDER BY t_us DESC, pos DESC, ordinal DESC LIMIT %(most)s)
SELECT f.gateway, f.stream, f.seq, n.ordinal - f.first
FROM newest n JOIN frame f ON f.pos = n.pos AND f.shard = n.shard AND f.first <= n.ordinal AND n.ordinal < f.first + f.events
ORDER BY n.t_us, n.pos, n.ordinal

-- name: advance
-- The guard of T2: the position moves only from where we think it is, and only for the owner.
UPDATE shard SET analysed = %(new)s, failing_since_us = NULL, failure = ''
WHERE id = %(shard)s AND analysed = %(old)s AND epoch = %(epoch)s

-- name: position
SELECT pos, analysed, epoch FROM shard WHERE id = %(shard)s

-- name: positions
-- How far each shard's T1 is.
SELECT id, pos FROM shard WHERE id = ANY(%(shards)s)

-- name: fail
-- Not analysed since …; the first failure's time stays.
UPDATE shard SET failing_since_us = coalesce(failing_since_us, %(now_us)s), failure = %(failure)s
WHERE id = %(shard)s AND epoch = %(epoch)s

-- name: read_checkpoint
SELECT pos, layout, state FROM checkpoint WHERE shard = %(shard)s

-- name: write_checkpoint
INSERT INTO checkpoint (shard, pos, layout, state) VALUES (%(shard)s, %(pos)s, %(layout)s, %(state)s)
ON CONFLICT (shard) DO UPDATE SET pos = EXCLUDED.pos, layout = EXCLUDED.layout, state = EXCLUDED.state

-- name: put_status
-- What the engine says of sites; `colour_sites` puts its alerts on top. A site that is gone is left out.
INSERT INTO site_status (site, state, clock_us, next_rule, next_deadline_us, today_in, today_passages, last_event_us, detail)
SELECT s.id, x.base, x.clock_us, x.next_rule, x.next_deadline_us, x.today_in, x.today_passages, x.last_event_us, x.detail
FROM jsonb_to_recordset(%(rows)s::jsonb) AS x (site integer, base text, clock_us bigint, next_rule text, next_deadline_us bigint,
     today_in integer, today_passages integer, last_event_us bigint, detail jsonb)
JOIN site s ON s.id = x.site
ON CONFLICT (site) DO UPDATE SET
    clock_us = EXCLUDED.clock_us, next_rule = EXCLUDED.next_rule, next_deadline_us = EXCLUDED.next_deadline_us,
    today_in = EXCLUDED.today_in, today_passages = EXCLUDED.today_passages, last_event_us = EXCLUDED.last_event_us,
    detail = EXCLUDED.detail, changed = pg_current_xact_id()

-- name: colour_sites
-- alert (open and urgent or major) > blind (an active gap) > attention (minor or acknowledged) > what the engine says.
UPDATE site_status st SET state = n.state, changed = pg_current_xact_id()
FROM (
    SELECT t.site, CASE
        WHEN bool_or(a.state = 'open' AND a.severity <> 'minor' AND a.rule <> 'monitoring_gap') THEN 'alert'
        WHEN bool_or(a.rule = 'monitoring_gap') THEN 'blind'
        WHEN count(a.id) > 0 THEN 'attention'
        ELSE coalesce(t.detail ->> 'base', 'unknown') END AS state
    FROM site_status t LEFT JOIN alert a ON a.site = t.site AND a.state IN ('open', 'acknowledged')
    WHERE t.site = ANY(%(sites)s) GROUP BY t.site, t.detail ->> 'base'
) n
WHERE st.site = n.site AND st.state <> n.state

-- name: notify
-- Wake delivery and the page.
SELECT pg_notify('smartcare', '')

-- name: scored_alerts
-- Alerts as a simulator's ledger names them; what was taken back is none.
SELECT a.rule, s.code AS site, a.episode AS since_us, a.begin_us,
       CASE a.subject_kind WHEN 'site' THEN s.code WHEN 'place' THEN s.code || '/' || p.code WHEN 'device' THEN d.identity
                           WHEN 'gateway' THEN g.code ELSE encode(n.token, 'hex') END AS subject
FROM alert a
LEFT JOIN site s ON s.id = a.site
LEFT JOIN place p ON a.subject_kind = 'place' AND p.id = a.subject
LEFT JOIN device d ON a.subject_kind = 'device' AND d.id = a.subject
LEFT JOIN gateway g ON a.subject_kind = 'gateway' AND g.id = a.subject
LEFT JOIN person n ON a.subject_kind = 'person' AND n.id = a.subject
WHERE a.state <> 'retracted'
ORDER BY a.begin_us, a.id

-- name: replayed_shards
-- The shards that have sites, with the position of their last T1.
SELECT id, pos FROM shard WHERE id IN (SELECT shard FROM site) ORDER BY id

-- name: replayed_sites
SELECT id, code, name, zone FROM site
