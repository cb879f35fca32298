-- Walk tests: someone walks through a site, and each sensor shows that it sees them.

CREATE TABLE walk_test (                                          -- one row for each device that was to be seen
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    site        integer NOT NULL REFERENCES site,
    device      integer NOT NULL REFERENCES device,
    started_us  bigint NOT NULL,
    ended_us    bigint CHECK (ended_us > started_us),             -- NULL: it still runs
    seen        jsonb NOT NULL DEFAULT '{}',                      -- {"openings": 2, "closings": 2, "in": 1, "out": 1, "passages": 1}; {} nothing
    author      text NOT NULL
);
CREATE INDEX walk_test_site ON walk_test (site, started_us);
CREATE UNIQUE INDEX walk_test_one_now ON walk_test (device) WHERE ended_us IS NULL;
