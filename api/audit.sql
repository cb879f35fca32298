-- Queries of the audit log.

-- name: append
-- One row at the end of the chain, in the transaction of the change.
SELECT audit_append(%(at_us)s, %(account)s, %(who)s, %(area)s, %(action)s, %(subject)s, %(detail)s)
