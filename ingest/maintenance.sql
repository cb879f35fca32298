------------------------------------------------------------------------------------------------ parts of the log

-- name: chunks
SELECT hypertable_name::text, chunk_schema::text || '.' || chunk_name::text, range_start_integer, range_end_integer, is_compressed
FROM timescaledb_information.chunks
WHERE hypertable_schema = 'public' AND hypertable_name::text = ANY(%(tables)s) ORDER BY range_start_integer, hypertable_name

-- name: native_partitions
-- They are named for their first day.
SELECT n.name, 'public.' || c.relname, substring(c.relname FROM '_(\d+)$')::bigint AS day, n.days
FROM native_partition n JOIN pg_inherits i ON i.inhparent = n.name::regclass JOIN pg_class c ON c.oid = i.inhrelid
ORDER BY day, n.name

-- name: plain_sizes
-- A partitioned table is as large as its partitions.
SELECT c.relname,
       coalesce((SELECT sum(pg_total_relation_size(t.relid)) FROM pg_partition_tree(c.oid) t), pg_total_relation_size(c.oid))::bigint
FROM pg_class c
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition

-- name: hypertable_sizes
SELECT hypertable_name::text, hypertable_size(format('%I.%I', hypertable_schema, hypertable_name)::regclass)
FROM timescaledb_information.hypertables WHERE hypertable_schema = 'public'

-- name: drop_chunk
SELECT drop_chunks(%(table)s::regclass, older_than => %(to_us)s::bigint, newer_than => %(from_us)s::bigint)

-- name: is_compressible
SELECT 1 FROM timescaledb_information.hypertables
WHERE hypertable_schema = 'public' AND hypertable_name = %(table)s AND compression_enabled

-- name: compress_chunk
SELECT compress_chunk(%(chunk)s::regclass)

------------------------------------------------------------------------------------------------ one run at a time

-- name: try_alone
SELECT pg_try_advisory_lock(%(lock)s)

-- name: leave
SELECT pg_advisory_unlock(%(lock)s)

-- name: last_run
SELECT done_us, log_from_us FROM maintenance

-- name: put_run
INSERT INTO maintenance (done_us, log_from_us) VALUES (%(now_us)s, %(log_from_us)s)
ON CONFLICT (one) DO UPDATE
SET done_us = EXCLUDED.done_us, log_from_us = greatest(maintenance.log_from_us, EXCLUDED.log_from_us)

-- name: analysed_through
-- Up to here every shard's analyzer has a checkpoint, so that nothing earlier is read again; NULL: all of the log.
SELECT min(coalesce(c.pos, 0)) FROM shard s LEFT JOIN checkpoint c ON c.shard = s.id WHERE s.pos > coalesce(c.pos, 0)

------------------------------------------------------------------------------------------------ rows whose time is over
-- Each is the rows of one table that go, as ctids.

-- name: old_loss
SELECT ctid FROM loss WHERE pos < %(before_us)s

-- name: old_coverage
-- But for the newest of each gateway.
SELECT c.ctid FROM coverage c
WHERE c.pos < %(before_us)s AND EXISTS (SELECT FROM coverage n WHERE n.gateway = c.gateway AND n.pos > c.pos)

-- name: old_blind
SELECT ctid FROM blind WHERE pos < %(before_us)s AND to_us IS NOT NULL

-- name: old_liveness
-- But for the newest of each gateway.
SELECT l.ctid FROM liveness l
WHERE l.pos < %(before_us)s AND EXISTS (SELECT FROM liveness n WHERE n.gateway = l.gateway AND n.pos > l.pos)

-- name: old_inputs
-- But for those of each shard that are valid where the kept log begins.
SELECT i.ctid FROM inputs i
WHERE i.pos < %(before_us)s AND EXISTS (
    SELECT FROM inputs n WHERE n.shard = i.shard AND n.pos > i.pos AND n.pos <= %(before_us)s)

-- name: old_served_person
SELECT ctid FROM served_person WHERE slot_us < %(before_us)s

-- name: old_person_day
SELECT ctid FROM person_day WHERE day < to_timestamp(%(before_us)s::bigint / 1000000)::date

-- name: old_quarantine
SELECT ctid FROM quarantine WHERE at_us < %(before_us)s

-- name: old_outbox
SELECT ctid FROM outbox WHERE done_us < %(before_us)s AND state <> 'pending'

-- name: old_data_period
SELECT ctid FROM data_period WHERE to_us < %(before_us)s

-- name: old_alert
-- Ended, with all that was said of them.
SELECT ctid FROM alert
WHERE state NOT IN ('open', 'acknowledged') AND greatest(detected_us, coalesce(end_us, 0), coalesce(since_us, 0)) < %(before_us)s

-- name: old_cursor
-- Of streams that ended: their gateway went on to a newer one, for which it had to have all older frames answered. Long after
-- that, because a disk that is rolled back or cloned sends old streams again.
SELECT u.ctid FROM cursor u JOIN coverage c ON c.gateway = u.gateway AND c.stream = u.stream
WHERE c.pos < %(before_us)s AND EXISTS (
    SELECT FROM coverage n JOIN cursor later ON later.gateway = n.gateway AND later.stream = n.stream
    WHERE n.gateway = c.gateway AND n.from_us > c.from_us AND n.pos > c.pos)

-- name: old_unclaimed
SELECT ctid FROM unclaimed WHERE last_us < %(before_us)s

-- name: old_session
SELECT ctid FROM session WHERE expires_us < %(before_us)s

-- name: old_signin_link
SELECT ctid FROM signin_link WHERE expires_us < %(before_us)s

-- name: old_api_token
SELECT ctid FROM api_token WHERE expires_us < %(before_us)s

-- name: old_erased
SELECT ctid FROM erased WHERE at_us < %(before_us)s

------------------------------------------------------------------------------------------------ erasing a person

-- name: delete_person
DELETE FROM person WHERE token = %(token)s RETURNING id

-- name: delete_links
DELETE FROM person_link l USING person p WHERE p.id = l.person AND p.token = %(token)s

-- name: cancel_deliveries
-- What is still to be said of a person's alerts; that they ended is said later, of nobody.
UPDATE outbox SET state = 'superseded', done_us = %(now_us)s
WHERE state = 'pending' AND alert IN (SELECT id FROM alert WHERE subject_kind = 'person' AND subject = %(person)s)

-- name: note_erased
INSERT INTO erased (person, at_us) VALUES (%(person)s, %(now_us)s) ON CONFLICT (person) DO NOTHING

-- name: erased
SELECT person FROM erased ORDER BY person

-- name: delete_person_days
DELETE FROM person_day WHERE person = ANY(%(persons)s)

-- name: delete_served
DELETE FROM served_person WHERE person = ANY(%(persons)s)

-- name: delete_visits
DELETE FROM visit_task WHERE person = ANY(%(persons)s)

-- name: has_passages
SELECT 1 FROM passage WHERE person = ANY(%(persons)s) AND pos >= %(from_us)s AND pos < %(to_us)s LIMIT 1

-- name: allow_decompression
-- TimescaleDB refuses changes that unpack more than 100,000 rows at a time, unless it is told otherwise; 0: any number.
SELECT set_config('timescaledb.max_tuples_decompressed_per_dml_transaction', '0', true)

-- name: unlink_passages
UPDATE passage SET person = 0 WHERE person = ANY(%(persons)s) AND pos >= %(from_us)s AND pos < %(to_us)s

------------------------------------------------------------------------------------------------ backup

-- name: other_sessions
-- Who else is connected to this database.
SELECT DISTINCT coalesce(nullif(application_name, ''), '?') FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend' ORDER BY 1

-- name: has_tables
SELECT 1 FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') LIMIT 1

-- name: empty
DROP SCHEMA public CASCADE

-- name: create_public
CREATE SCHEMA public

-- name: add_timescale
CREATE EXTENSION IF NOT EXISTS timescaledb

-- name: before_restore
SELECT timescaledb_pre_restore()

-- name: after_restore
SELECT timescaledb_post_restore()

-- name: raise_all_epochs
-- Gateways obey a lower position only in a newer epoch; nobody has these shards.
UPDATE shard SET epoch = greatest(epoch + 1, extract(epoch FROM clock_timestamp())::bigint), owner = ''
