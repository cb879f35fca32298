-- Residents: absences that were announced, visits that someone should make, and the days on which each person came.

CREATE TABLE planned_absence (                                    -- append-only; cancelled by a newer row about the same time
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    person      integer NOT NULL REFERENCES person ON DELETE CASCADE,
    from_us     bigint NOT NULL,
    to_us       bigint NOT NULL CHECK (to_us > from_us),
    reason      text NOT NULL,
    author      text NOT NULL,
    at_us       bigint NOT NULL,
    cancelled   boolean NOT NULL DEFAULT false
);
CREATE INDEX planned_absence_person ON planned_absence (person);

CREATE TABLE visit_task (                                         -- 探访: someone should see how a person is
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alert       bigint NOT NULL UNIQUE REFERENCES alert,          -- one alert, one task
    person      integer NOT NULL,
    site        integer NOT NULL REFERENCES site,
    created_us  bigint NOT NULL,
    due_us      bigint NOT NULL,
    state       text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'done', 'withdrawn')),
    result      text CHECK (result IN ('well', 'in_hospital', 'away', 'moved', 'not_found', 'emergency', 'other', 'seen')),
    note        text NOT NULL DEFAULT '',
    done_us     bigint,
    who         text NOT NULL DEFAULT '',                         -- 'analyzer': seen at the centre, or retracted
    CHECK ((state = 'open') = (done_us IS NULL)),
    CHECK ((state = 'done') = (result IS NOT NULL))
);
CREATE INDEX visit_task_open ON visit_task (site, due_us) WHERE state = 'open';
CREATE INDEX visit_task_done ON visit_task (site, done_us) WHERE state = 'done';
CREATE INDEX visit_task_person ON visit_task (person);

CREATE TABLE person_day (                                         -- upserted in T1, exact with late data; reports read this
    person      integer NOT NULL,                                 -- no foreign key: T1 must not fail on an erasure beside it
    site        integer NOT NULL,                                 -- where they were, not where they belong
    day         date NOT NULL,                                    -- local
    visits      integer NOT NULL,                                 -- passages
    first_us    bigint NOT NULL,
    last_us     bigint NOT NULL,
    PRIMARY KEY (person, day, site)
);
CREATE INDEX person_day_site ON person_day (site, day);
