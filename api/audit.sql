-- Queries of the audit log.

-- name: append
-- One row at the end of the chain, in the transaction of the change.
SELECT audit_append(%(at_us)s, %(account)s, %(who)s, %(area)s, %(action)s, %(subject)s, %(detail)s)

-- name: rows
-- The whole chain, from its beginning.
SELECT id, at_us, account, who, area, action, subject, detail, hash FROM audit ORDER BY id

-- name: head
SELECT id, hash FROM audit_head

-- name: page
-- What concerns a part of the regions, newest first.
SELECT id, at_us, account, who, area, action, subject, detail, hash FROM audit
WHERE coalesce(starts_with(area, %(area)s::text), area IN (SELECT region FROM site WHERE id = ANY(%(sites)s::integer[])))
  AND (%(below)s::bigint IS NULL OR id < %(below)s) AND starts_with(subject, %(subject)s)
ORDER BY id DESC LIMIT %(limit)s
