-- The schema, for PostgreSQL 15+ and TimescaleDB alike. Where the two differ, ingest/store/schema.py replaces the line
-- "-- @partition <table> <days>" by a hypertable or by native partitions.
--
-- Times are bigint microseconds since 1970 (UTC). A log position (pos) is the time of the T1 transaction in
-- microseconds, made strictly increasing per shard: it orders the log, partitions it, and says when a row was stored.

CREATE TABLE native_partition (                                   -- tables that we partition ourselves; empty on TimescaleDB
    name        text PRIMARY KEY,
    days        integer NOT NULL
);

------------------------------------------------------------------------------------------------ register
CREATE TABLE region (
    code        text PRIMARY KEY CHECK (code ~ '^[0-9]{12}$'),   -- county 6 + township 3 + village 3
    name        text NOT NULL,
    name_en     text NOT NULL DEFAULT ''
);

CREATE TABLE site (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code        text NOT NULL UNIQUE,
    name        text NOT NULL,
    name_en     text NOT NULL DEFAULT '',
    kind        text NOT NULL CHECK (kind IN ('centre', 'station', 'point', 'mutual_aid')),
    parent      integer REFERENCES site,                          -- a centre serves points ("1+X")
    region      text NOT NULL REFERENCES region,
    zone        text NOT NULL DEFAULT 'Asia/Shanghai',            -- IANA
    capacity    integer CHECK (capacity > 0),
    hours       jsonb NOT NULL,                                   -- {"mon": [["08:00","17:00"]], …}; "22:00","06:00" runs over midnight; [] closed
    rules       jsonb NOT NULL DEFAULT '{}',                      -- overrides of rule settings, {"left_open": {"after_min": 30}}
    shard       smallint NOT NULL
);

CREATE TABLE closure (                                            -- closed days; append-only, cancelled by a newer row
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    site        integer NOT NULL REFERENCES site,
    from_us     bigint NOT NULL,
    to_us       bigint NOT NULL CHECK (to_us > from_us),
    reason      text NOT NULL,
    author      text NOT NULL,
    at_us       bigint NOT NULL,
    cancelled   boolean NOT NULL DEFAULT false
);

CREATE TABLE place (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    site        integer NOT NULL REFERENCES site,
    code        text NOT NULL,
    name        text NOT NULL,
    name_en     text NOT NULL DEFAULT '',
    room        text NOT NULL CHECK (room IN
                  ('entrance', 'hall', 'canteen', 'activity', 'office', 'rest', 'bathroom', 'toilet', 'changing', 'other')),
    UNIQUE (site, code)
);

CREATE TABLE gateway (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code        text NOT NULL UNIQUE CHECK (code ~ '^[A-Za-z0-9_-]{1,64}$'),
    shard       smallint NOT NULL,
    suspended   boolean NOT NULL DEFAULT false,
    secret_hash bytea NOT NULL DEFAULT ''                         -- sha-256 of the broker password
);

CREATE TABLE device (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gateway     integer NOT NULL REFERENCES gateway,
    identity    text NOT NULL,                                    -- "<family>/<identity>" as the gateway says it
    class       text NOT NULL,                                    -- ingest/classes.py
    name        text NOT NULL DEFAULT '',
    alive_every_s integer CHECK (alive_every_s > 0),              -- NULL: the class's own
    assessment  text NOT NULL DEFAULT '',                         -- reference of the impact assessment; face classes need one
    UNIQUE (gateway, identity)
);

CREATE TABLE mounting (                                           -- the device mounted at a place, from-to
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device      integer NOT NULL REFERENCES device,
    place       integer NOT NULL REFERENCES place,
    from_us     bigint NOT NULL,
    to_us       bigint CHECK (to_us > from_us)                    -- NULL: still there
);
CREATE UNIQUE INDEX mounting_one_now ON mounting (device) WHERE to_us IS NULL;

CREATE TABLE unclaimed (                                          -- unknown devices of known gateways
    gateway     integer NOT NULL REFERENCES gateway,
    identity    text NOT NULL,
    first_us    bigint NOT NULL,
    last_us     bigint NOT NULL,
    events      bigint NOT NULL,
    kinds       integer NOT NULL,                                 -- bit per event kind seen, for the installer
    PRIMARY KEY (gateway, identity)
);

CREATE TABLE person (                                             -- someone who has consented; names live elsewhere, encrypted
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    token       bytea NOT NULL UNIQUE CHECK (length(token) = 16),
    site        integer NOT NULL REFERENCES site,
    role        text NOT NULL CHECK (role IN ('resident', 'staff', 'volunteer')),
    consent_from_us bigint NOT NULL,
    consent_to_us   bigint                                        -- NULL: active
);

CREATE TABLE person_link (                                        -- how one terminal knows the person
    device      integer NOT NULL REFERENCES device,
    local_id    text NOT NULL,
    person      integer NOT NULL REFERENCES person,
    PRIMARY KEY (device, local_id)
);

CREATE TABLE register_version (                                   -- raised by every change above; the worker compiles inputs from it
    one         boolean PRIMARY KEY DEFAULT true CHECK (one),
    version     bigint NOT NULL DEFAULT 0
);
INSERT INTO register_version DEFAULT VALUES;

------------------------------------------------------------------------------------------------ log
CREATE TABLE shard (
    id          smallint PRIMARY KEY,
    epoch       bigint NOT NULL DEFAULT 0,                        -- fencing: rises with every owner and every restore
    pos         bigint NOT NULL DEFAULT 0,                        -- last T1
    analysed    bigint NOT NULL DEFAULT 0,                        -- last T2; compare-and-set
    failing_since_us bigint,                                      -- analyzer failed: not analysed since …
    failure     text NOT NULL DEFAULT '',
    owner       text NOT NULL DEFAULT ''
);
INSERT INTO shard (id) SELECT generate_series(0, 63);

CREATE TABLE cursor (
    gateway     integer NOT NULL REFERENCES gateway,
    stream      bigint NOT NULL,
    seq         bigint NOT NULL,
    PRIMARY KEY (gateway, stream)
);

CREATE TABLE frame (                                              -- where each event came from: (gateway, stream, seq, ordinal - first)
    pos         bigint NOT NULL,
    shard       smallint NOT NULL,
    first       integer NOT NULL,                                 -- ordinal of the frame's first event in the T1 batch
    events      smallint NOT NULL,                                -- rows of the frame, stored or not (repeats, unclaimed)
    gateway     integer NOT NULL,
    stream      bigint NOT NULL,
    seq         bigint NOT NULL,
    through_us  bigint NOT NULL
);
-- @partition frame 7
CREATE INDEX frame_pos ON frame USING brin (pos);
CREATE INDEX frame_source ON frame (gateway, stream, seq);

CREATE TABLE event (                                              -- all but passages; append-only
    pos         bigint NOT NULL,
    t_us        bigint NOT NULL,
    raw_us      bigint NOT NULL,
    a           bigint NOT NULL,
    b           bigint NOT NULL,
    key         bigint NOT NULL,
    ordinal     integer NOT NULL,                                 -- in the T1 batch of this shard
    device      integer NOT NULL,
    place       integer NOT NULL,                                 -- where the device was mounted at t_us; 0 nowhere
    lag_ms      integer NOT NULL,                                 -- gateway's receive time - t_us
    d_in        integer NOT NULL,                                 -- people in and out that this event adds
    d_out       integer NOT NULL,
    shard       smallint NOT NULL,
    kind        smallint NOT NULL,
    aux         smallint NOT NULL,
    flags       integer NOT NULL
);
-- @partition event 1
CREATE INDEX event_device_time ON event (device, t_us);
CREATE INDEX event_pos ON event USING brin (pos);

CREATE TABLE passage (
    pos         bigint NOT NULL,
    t_us        bigint NOT NULL,
    raw_us      bigint NOT NULL,
    key         bigint NOT NULL,
    ordinal     integer NOT NULL,
    device      integer NOT NULL,
    place       integer NOT NULL,
    person      integer NOT NULL,                                 -- 0 anonymous
    lag_ms      integer NOT NULL,
    shard       smallint NOT NULL,
    method      smallint NOT NULL,
    result      smallint NOT NULL,
    list_role   smallint NOT NULL,
    flags       integer NOT NULL
);
-- @partition passage 7
CREATE INDEX passage_device_time ON passage (device, t_us);
CREATE INDEX passage_person ON passage (person, t_us) WHERE person <> 0;
CREATE INDEX passage_pos ON passage USING brin (pos);

CREATE TABLE loss (                                               -- named losses: a range of frames, or of time
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gateway     integer NOT NULL REFERENCES gateway,
    pos         bigint NOT NULL,
    stream      bigint,
    from_seq    bigint,
    to_seq      bigint,
    from_us     bigint,
    to_us       bigint,
    reason      text NOT NULL
);

CREATE TABLE quarantine (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at_us       bigint NOT NULL,
    topic       text NOT NULL,
    gateway     integer,
    stream      bigint,
    seq         bigint,
    reason      text NOT NULL,
    detail      text NOT NULL,
    bytes       bytea NOT NULL                                    -- at most 4 KiB of it
);

CREATE TABLE coverage (                                           -- times in which a gateway was receiving; extended in place
    gateway     integer NOT NULL REFERENCES gateway,
    stream      bigint NOT NULL,
    from_us     bigint NOT NULL,
    through_us  bigint NOT NULL,
    pos         bigint NOT NULL,                                  -- last extended at
    shard       smallint NOT NULL,
    PRIMARY KEY (gateway, stream)
);
CREATE INDEX coverage_pos ON coverage (shard, pos);

CREATE TABLE blind (                                              -- times in which a gateway could not hear some devices
    gateway     integer NOT NULL REFERENCES gateway,
    source      text NOT NULL,                                    -- prefix of device identities; '' all
    from_us     bigint NOT NULL,
    to_us       bigint,                                           -- NULL: still
    reason      text NOT NULL,
    pos         bigint NOT NULL,
    shard       smallint NOT NULL,
    PRIMARY KEY (gateway, source, from_us)
);
CREATE INDEX blind_pos ON blind (shard, pos);

CREATE TABLE liveness (                                           -- gateway lost and back, judged on the backend's clock, as log entries
    shard       smallint NOT NULL,
    pos         bigint NOT NULL,
    gateway     integer NOT NULL REFERENCES gateway,
    alive       boolean NOT NULL,
    at_us       bigint NOT NULL,
    PRIMARY KEY (gateway, pos)
);
CREATE INDEX liveness_pos ON liveness (shard, pos);

CREATE TABLE inputs (                                             -- what the analyzer may know, valid from pos; msgspec JSON of ingest.inputs.Inputs
    shard       smallint NOT NULL,
    pos         bigint NOT NULL,
    version     bigint NOT NULL,
    body        bytea NOT NULL,
    PRIMARY KEY (shard, pos)
);

CREATE TABLE rollup_hour (                                        -- upserted in T1, exact with late data; reports read these
    place       integer NOT NULL,
    hour_us     bigint NOT NULL,                                  -- start of the UTC hour of the event's time
    people_in   bigint NOT NULL DEFAULT 0,
    people_out  bigint NOT NULL DEFAULT 0,
    passages    bigint NOT NULL DEFAULT 0,
    openings    bigint NOT NULL DEFAULT 0,
    events      bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (place, hour_us)
);

------------------------------------------------------------------------------------------------ analyzer
CREATE TABLE checkpoint (                                         -- state of one shard after position pos
    shard       smallint PRIMARY KEY,
    pos         bigint NOT NULL,
    layout      integer NOT NULL,
    state       bytea NOT NULL
);

CREATE TABLE site_status (                                        -- what the page shows of a site; not part of the log
    site        integer PRIMARY KEY REFERENCES site,
    state       text NOT NULL CHECK (state IN ('alert', 'blind', 'attention', 'ok', 'closed', 'unknown')),
    clock_us    bigint NOT NULL,                                  -- the site's clock: analysed through here
    next_rule   text NOT NULL DEFAULT '',
    next_deadline_us bigint,
    today_in    integer NOT NULL DEFAULT 0,
    today_passages integer NOT NULL DEFAULT 0,
    last_event_us bigint,
    detail      jsonb NOT NULL DEFAULT '{}',
    changed     xid8 NOT NULL DEFAULT pg_current_xact_id()
);
CREATE INDEX site_status_changed ON site_status (changed);

CREATE TABLE alert (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    shard       smallint NOT NULL,
    rule        text NOT NULL,
    subject_kind text NOT NULL CHECK (subject_kind IN ('site', 'place', 'device', 'person', 'gateway')),
    subject     integer NOT NULL,
    site        integer REFERENCES site,
    episode     bigint NOT NULL,                                  -- the finding's begin; a new episode is a new alert
    state       text NOT NULL CHECK (state IN ('open', 'acknowledged', 'resolved', 'cleared', 'retracted', 'expired')),
    severity    text NOT NULL CHECK (severity IN ('urgent', 'major', 'minor')),
    begin_us    bigint NOT NULL,                                  -- event time
    detected_us bigint NOT NULL,                                  -- when T2 stored it
    end_us      bigint,                                           -- event time at which the cause was over
    late        boolean NOT NULL DEFAULT false,                   -- over before it was known: wakes no one
    reason      jsonb NOT NULL,                                   -- {"code": …, numbers}; analytics.reasons renders it
    evidence    jsonb NOT NULL DEFAULT '[]',                      -- [[gateway, stream, seq, ordinal], …]
    version     integer NOT NULL DEFAULT 1,
    assignee    text NOT NULL DEFAULT '',
    outcome     text CHECK (outcome IN ('real', 'false_alarm', 'device_fault', 'drill')),
    note        text NOT NULL DEFAULT '',
    UNIQUE (rule, subject_kind, subject, episode)
);
CREATE INDEX alert_active ON alert (site) WHERE state IN ('open', 'acknowledged');

CREATE TABLE alert_change (                                       -- every change a row: who, when, why
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alert       bigint NOT NULL REFERENCES alert,
    version     integer NOT NULL,
    at_us       bigint NOT NULL,
    who         text NOT NULL,                                    -- 'analyzer' or an account's name
    what        text NOT NULL,                                    -- opened, updated, acknowledged, resolved, cleared, retracted, expired
    why         text NOT NULL DEFAULT '',
    changed     xid8 NOT NULL DEFAULT pg_current_xact_id(),       -- readers stay below pg_snapshot_xmin: no late commit is skipped
    UNIQUE (alert, version)
);
CREATE INDEX alert_change_changed ON alert_change (changed, id);

------------------------------------------------------------------------------------------------ delivery
CREATE TABLE endpoint (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text NOT NULL UNIQUE,
    url         text NOT NULL,
    secret      text NOT NULL,                                    -- whsec_…, generated
    enabled     boolean NOT NULL DEFAULT true
);

CREATE TABLE outbox (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alert       bigint NOT NULL REFERENCES alert,
    version     integer NOT NULL,
    endpoint    integer NOT NULL REFERENCES endpoint,
    webhook_id  text NOT NULL UNIQUE,                             -- fixed per (alert, version, endpoint)
    body        bytea NOT NULL,                                   -- serialised once, signed and sent as it is
    state       text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'superseded', 'dead')),
    attempts    integer NOT NULL DEFAULT 0,
    due_us      bigint NOT NULL,
    leased_until_us bigint NOT NULL DEFAULT 0,
    last_status integer,
    last_error  text NOT NULL DEFAULT '',
    done_us     bigint,
    UNIQUE (alert, version, endpoint)
);
CREATE INDEX outbox_due ON outbox (due_us) WHERE state = 'pending';
CREATE INDEX outbox_order ON outbox (alert, endpoint, version) WHERE state = 'pending';

------------------------------------------------------------------------------------------------ people who sign in
CREATE TABLE account (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text NOT NULL UNIQUE,
    password    text,                                             -- argon2id; NULL: sign-in link only
    role        text NOT NULL CHECK (role IN ('admin', 'staff')),
    site        integer REFERENCES site,
    disabled    boolean NOT NULL DEFAULT false,
    CHECK ((role = 'staff') = (site IS NOT NULL))
);

CREATE TABLE session (
    hash        bytea PRIMARY KEY,                                -- sha-256 of the cookie
    account     integer NOT NULL REFERENCES account ON DELETE CASCADE,
    created_us  bigint NOT NULL,
    seen_us     bigint NOT NULL,
    expires_us  bigint NOT NULL
);

CREATE TABLE signin_link (                                        -- single use, ten minutes, consumed by POST
    hash        bytea PRIMARY KEY,
    account     integer NOT NULL REFERENCES account ON DELETE CASCADE,
    expires_us  bigint NOT NULL,
    used_us     bigint
);

CREATE TABLE api_token (
    hash        bytea PRIMARY KEY,
    account     integer NOT NULL REFERENCES account ON DELETE CASCADE,
    name        text NOT NULL,
    scopes      text[] NOT NULL,                                  -- 'read', 'act'
    created_us  bigint NOT NULL,
    expires_us  bigint NOT NULL
);
