-- Who changed what, when: a chain of hashes, so that a row that was altered, removed or slipped in is found (smartcare audit verify).

CREATE TABLE audit (
    id          bigint PRIMARY KEY CHECK (id > 0),                -- without gaps
    at_us       bigint NOT NULL,
    account     integer,                                          -- no foreign key: the log outlives whom it names; NULL: the command line
    who         text NOT NULL,
    area        text NOT NULL,                                    -- region code it concerns; '' the whole city
    action      text NOT NULL,                                    -- 'site.closed'
    subject     text NOT NULL,                                    -- 'site/east'
    detail      text NOT NULL,                                    -- JSON as it was hashed
    hash        bytea NOT NULL                                    -- sha-256 of the hash before and this row, see audit_hash
);
CREATE INDEX audit_subject ON audit (subject, id);

CREATE TABLE audit_head (                                         -- where the chain ends: rows cut off its end are missed too
    one         boolean PRIMARY KEY DEFAULT true CHECK (one),
    id          bigint NOT NULL,
    hash        bytea NOT NULL
);
INSERT INTO audit_head (id, hash) VALUES (0, '');

CREATE FUNCTION audit_hash(before bytea, VARIADIC fields text[]) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    -- Each field with its length before it, so that no two rows read the same.
    SELECT sha256(before || convert_to((SELECT string_agg(octet_length(convert_to(f, 'UTF8')) || ':' || f, ',' ORDER BY n)
        FROM unnest(fields) WITH ORDINALITY AS x (f, n)), 'UTF8'))
$$;

CREATE FUNCTION audit_append(at_us bigint, account integer, who text, area text, action text, subject text, detail text)
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    -- The only way in for whoever may not write the table. What happens at a site concerns the site's region.
DECLARE
    head audit_head;
    place text;
BEGIN
    SELECT * INTO head FROM audit_head FOR UPDATE;                -- one writer at a time, until it commits
    SELECT s.region INTO place FROM site s WHERE audit_append.subject LIKE 'site/%' AND s.code = substr(audit_append.subject, 6);
    head.id := head.id + 1;
    place := coalesce(place, audit_append.area);
    head.hash := audit_hash(head.hash, head.id::text, audit_append.at_us::text, coalesce(audit_append.account::text, ''),
        audit_append.who, place, audit_append.action, audit_append.subject, audit_append.detail);
    INSERT INTO audit VALUES (head.id, audit_append.at_us, audit_append.account, audit_append.who, place, audit_append.action,
        audit_append.subject, audit_append.detail, head.hash);
    UPDATE audit_head SET id = head.id, hash = head.hash;
    RETURN head.id;
END
$$;
REVOKE ALL ON FUNCTION audit_append FROM PUBLIC;
