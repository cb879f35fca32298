-- Telling people: who is on duty, what is silenced, what each alert still has to say, and what was said or not, and why.

ALTER TABLE alert
    ADD COLUMN count    integer NOT NULL DEFAULT 1,                -- episodes it stands for
    ADD COLUMN last_episode bigint,                               -- the newest it took up; NULL: only its own
    ADD COLUMN recurs   bigint REFERENCES alert,                  -- the one that had ended within the hold time before
    ADD COLUMN calm_us  bigint,                                   -- cause over since; clears when nothing recurs within the hold time
    ADD COLUMN since_us bigint,                                   -- event time of the newest recurrence
    ADD COLUMN reach    text NOT NULL DEFAULT '' CHECK (reach IN ('', 'unreached'));   -- nobody took it over at any level
CREATE INDEX alert_recurs ON alert (recurs) WHERE recurs IS NOT NULL;

------------------------------------------------------------------------------------------------ roster
CREATE TABLE contact (                                            -- someone who is told, and how
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text NOT NULL UNIQUE,
    account     integer REFERENCES account,                       -- as whom they sign in
    endpoint    integer NOT NULL REFERENCES endpoint,             -- one that somebody's channel is hears only what is for them
    address     text NOT NULL DEFAULT ''                          -- number or mail address on that endpoint; '': the endpoint's own
);
CREATE INDEX contact_endpoint ON contact (endpoint);

CREATE TABLE shift (                                              -- who is on duty where, from-to
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    contact     integer NOT NULL REFERENCES contact,
    site        integer REFERENCES site,                          -- level 0: the site's own staff
    area        text CHECK (area ~ '^([0-9]{2}|[0-9]{4}|[0-9]{6}|[0-9]{9}|[0-9]{12})$'),   -- head of region codes: 9 or 12 level 1 (town), else 2 (city)
    from_us     bigint NOT NULL,
    to_us       bigint CHECK (to_us > from_us),                   -- NULL: until further notice
    CHECK (num_nonnulls(site, area) = 1)
);
CREATE INDEX shift_site ON shift (site) WHERE site IS NOT NULL;

CREATE TABLE silence (                                            -- what nobody is told of for a time; a NULL matches everything
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind        text NOT NULL CHECK (kind IN ('silence', 'maintenance')),
    rule        text,
    site        integer REFERENCES site,
    area        text CHECK (area ~ '^([0-9]{2}|[0-9]{4}|[0-9]{6}|[0-9]{9}|[0-9]{12})$'),
    subject_kind text,
    subject     integer,
    severity    text CHECK (severity IN ('urgent', 'major', 'minor')),
    from_us     bigint NOT NULL,
    to_us       bigint NOT NULL CHECK (to_us >= from_us),         -- always: a silence expires
    author      text NOT NULL,
    reason      text NOT NULL CHECK (reason <> ''),
    created_us  bigint NOT NULL,
    CHECK (num_nonnulls(rule, site, area, subject, severity) > 0),
    CHECK (num_nonnulls(subject_kind, subject) <> 1)
);
CREATE INDEX silence_to ON silence (to_us);

------------------------------------------------------------------------------------------------ telling
CREATE TABLE telling (                                            -- an alert's timer, and how far people have been told
    alert       bigint PRIMARY KEY REFERENCES alert,
    site        integer NOT NULL,                                 -- 0 none
    due_us      bigint,                                           -- when to look again; NULL: nothing remains
    severity    text,                                             -- the gravest that was told; NULL: nothing was told
    level       smallint NOT NULL DEFAULT -1,                     -- the highest told: 0 site, 1 town, 2 city
    told_us     bigint,                                           -- when that level was told
    acted_us    bigint,                                           -- when a person last did something
    reminders   smallint NOT NULL DEFAULT 0,                      -- since then
    inherited   boolean NOT NULL DEFAULT false,                   -- told as the alert that it recurs
    over        boolean NOT NULL DEFAULT false                    -- its end was told, or needs no telling
);
CREATE INDEX telling_due ON telling (due_us) WHERE due_us IS NOT NULL;
CREATE INDEX telling_site ON telling (site) WHERE due_us IS NOT NULL;

CREATE TABLE notice (                                             -- every decision to tell or not to tell, with its reason
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alert       bigint NOT NULL REFERENCES alert,
    version     integer NOT NULL,
    at_us       bigint NOT NULL,
    told        boolean NOT NULL,
    reason      text NOT NULL,                                    -- analytics/notices.py: Told or Quiet
    level       smallint NOT NULL DEFAULT 0,
    detail      jsonb NOT NULL DEFAULT '{}',                      -- which silence, which other alert
    under       bigint REFERENCES notice,                         -- the message that names it, where several were told as one
    changed     xid8 NOT NULL DEFAULT pg_current_xact_id()
);
CREATE INDEX notice_alert ON notice (alert, id);
CREATE INDEX notice_under ON notice (under) WHERE under IS NOT NULL;
CREATE INDEX notice_changed ON notice (changed);

-- A row of the outbox is a version of an alert for a platform, or (with `notice`) a notice for a person or a robot: its body is
-- {"type": "notice.<reason>", "data": {the alert …, "notice": {"text_zh", "text_en", …}}}.
ALTER TABLE outbox
    ADD COLUMN notice   bigint REFERENCES notice,
    ADD COLUMN contact  integer REFERENCES contact,               -- whom it is for; NULL: a robot that hears everything
    ADD COLUMN address  text NOT NULL DEFAULT '',                 -- theirs on the endpoint; '': the endpoint's own
    DROP CONSTRAINT outbox_alert_version_endpoint_key;
CREATE UNIQUE INDEX outbox_version ON outbox (alert, version, endpoint) WHERE notice IS NULL;
CREATE UNIQUE INDEX outbox_notice ON outbox (notice, endpoint, address) WHERE notice IS NOT NULL;
