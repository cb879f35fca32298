-- Data for platforms beside alerts, more channels, and what an operator must know of each receiver.

------------------------------------------------------------------------------------------------ roll-ups
ALTER TABLE rollup_hour
    ADD COLUMN first_us bigint,                                   -- first and last sign of life of the hour: a door's edge, people, a passage
    ADD COLUMN last_us  bigint,
    ADD COLUMN changed  xid8 NOT NULL DEFAULT pg_current_xact_id();  -- readers stay below pg_snapshot_xmin: no late commit is skipped
CREATE INDEX rollup_hour_changed ON rollup_hour (changed);

CREATE FUNCTION service_slot(t_us bigint, zone text) RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE AS $$
    -- Start of the service slot: three a day, from midnight, 10:00 and 15:00 local time (breakfast, noon, evening).
    SELECT (extract(epoch FROM (date_trunc('day', local.t) + make_interval(hours => CASE
        WHEN extract(hour FROM local.t) < 10 THEN 0 WHEN extract(hour FROM local.t) < 15 THEN 10 ELSE 15 END)) AT TIME ZONE zone)
        * 1000000)::bigint
    FROM (SELECT to_timestamp(t_us / 1000000) AT TIME ZONE zone AS t) AS local
$$;

CREATE TABLE rollup_service (                                     -- 服务人次 per place and service slot, upserted in T1, exact with late data
    place       integer NOT NULL,
    slot_us     bigint NOT NULL,
    served      bigint NOT NULL DEFAULT 0,                        -- known persons once each, and every anonymous passage
    anonymous   bigint NOT NULL DEFAULT 0,                        -- of those, the anonymous passages
    staff       bigint NOT NULL DEFAULT 0,                        -- staff and volunteers, once each; not among the served
    changed     xid8 NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (place, slot_us)
);
CREATE INDEX rollup_service_changed ON rollup_service (changed);

CREATE TABLE served_person (                                      -- who has been counted; whoever erases a person erases these, the counts stay
    place       integer NOT NULL,
    slot_us     bigint NOT NULL,
    person      integer NOT NULL,                                 -- no foreign key: T1 must not fail on an erasure beside it
    PRIMARY KEY (place, slot_us, person)
);
CREATE INDEX served_person_person ON served_person (person);

------------------------------------------------------------------------------------------------ endpoints
ALTER TABLE endpoint
    DROP CONSTRAINT endpoint_kind_check,
    DROP CONSTRAINT endpoint_signer_check,
    ADD CONSTRAINT endpoint_kind_check CHECK (kind IN ('webhook', 'dingtalk', 'feishu', 'wecom', 'sms', 'email')),
    ADD CONSTRAINT endpoint_signer_check CHECK (signer IN ('standard', 'hmac-sm3', 'zwdd', 'md5', 'bearer', 'none')),
    ADD COLUMN alerts        boolean NOT NULL DEFAULT true,       -- told of alerts; false: data only, or only as someone's fallback
    ADD COLUMN codes         text NOT NULL DEFAULT '',            -- YAML: the platform's own codes of sites, regions, device classes
    ADD COLUMN recipients    text[] NOT NULL DEFAULT '{}',        -- telephone numbers (sms) or addresses (email)
    ADD COLUMN sender        text NOT NULL DEFAULT '',            -- email: From
    ADD COLUMN token_url     text NOT NULL DEFAULT '',            -- where access tokens (zwdd) or request secrets (md5) come from
    ADD COLUMN fallback      integer REFERENCES endpoint,         -- takes over what this one cannot deliver
    ADD COLUMN failures      integer NOT NULL DEFAULT 0,          -- calls in a row that found the receiver unable
    ADD COLUMN open_until_us bigint NOT NULL DEFAULT 0,           -- breaker: 0 closed; later than now open; else half-open
    ADD COLUMN delivered_us  bigint;                              -- last success

CREATE TABLE endpoint_token (                                     -- what a token_url gave; fetched again before it ends
    endpoint    integer PRIMARY KEY REFERENCES endpoint ON DELETE CASCADE,
    token       text NOT NULL,
    until_us    bigint NOT NULL,
    refresh     text NOT NULL DEFAULT '',                         -- md5: the longer-lived secret that fetches the next one
    refresh_until_us bigint NOT NULL DEFAULT 0
);

------------------------------------------------------------------------------------------------ data periods
CREATE TABLE subscription (                                       -- what data an endpoint gets, and how often
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    endpoint    integer NOT NULL REFERENCES endpoint ON DELETE CASCADE,
    what        text NOT NULL CHECK (what IN ('counts', 'opening', 'service', 'devices')),
    period      text NOT NULL CHECK (period IN ('hour', 'day')),
    mapping     text NOT NULL DEFAULT '',                         -- YAML, see api/mapping.py; '': our own JSON
    fields      text[],                                           -- what of the data may leave; NULL: all of it
    from_us     bigint NOT NULL,                                  -- periods that begin earlier are not sent
    through_us  bigint NOT NULL,                                  -- periods that ended by then have been made
    UNIQUE (endpoint, what, period)
);

CREATE TABLE data_progress (                                      -- one row, once periods have been made
    one         boolean PRIMARY KEY DEFAULT true CHECK (one),
    seen        xid8 NOT NULL                                     -- roll-ups that changed before it have been looked at
);

CREATE TABLE data_period (                                        -- what a receiver was last told of a site's period
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subscription integer NOT NULL REFERENCES subscription ON DELETE CASCADE,
    site        integer NOT NULL REFERENCES site,
    from_us     bigint NOT NULL,
    to_us       bigint NOT NULL,
    version     integer NOT NULL DEFAULT 1,
    digest      bytea NOT NULL,                                   -- of the figures: a version is made when they change
    whole       boolean NOT NULL,                                 -- sensors were seeing all of it: only new data can change it
    looked_us   bigint NOT NULL,
    UNIQUE (subscription, site, from_us)
);
CREATE INDEX data_period_partial ON data_period (to_us) WHERE NOT whole;

------------------------------------------------------------------------------------------------ outbox
ALTER TABLE outbox
    ALTER COLUMN alert DROP NOT NULL,
    ADD COLUMN period bigint REFERENCES data_period ON DELETE CASCADE,  -- a data period instead of an alert
    DROP CONSTRAINT outbox_state_check,
    ADD CONSTRAINT outbox_state_check CHECK (state IN ('pending', 'delivered', 'superseded', 'dead', 'passed_on')),
    ADD CONSTRAINT outbox_period_version UNIQUE (period, version, endpoint);
DROP INDEX outbox_due;
CREATE INDEX outbox_due ON outbox (endpoint, (period IS NOT NULL), due_us, id) WHERE state = 'pending';  -- alerts before data
CREATE INDEX outbox_dead ON outbox (endpoint) WHERE state = 'dead';
CREATE INDEX outbox_leased ON outbox (endpoint) WHERE leased_until_us > 0;

CREATE TABLE disclosure (                                         -- what left, to whom, when; no person's data; kept three years
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at_us       bigint NOT NULL,
    endpoint    text NOT NULL,
    receiver    text NOT NULL,                                    -- host and port
    about       text NOT NULL,                                    -- 'alert 7', 'counts 12'
    version     integer NOT NULL,
    webhook_id  text NOT NULL,
    fields      text[] NOT NULL,
    bytes       integer NOT NULL
);
CREATE INDEX disclosure_at ON disclosure (at_us);
CREATE INDEX disclosure_webhook ON disclosure (webhook_id);
