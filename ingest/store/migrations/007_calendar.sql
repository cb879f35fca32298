-- What people enter about days and sites that are not as usual; closures have a table already.

CREATE TABLE calendar_day (                                       -- overrides of the country's public holidays
    date        date PRIMARY KEY,
    kind        text NOT NULL CHECK (kind IN ('holiday', 'workday', 'normal')),   -- workday: a weekend day that is worked; normal: neither
    name        text NOT NULL DEFAULT '',
    author      text NOT NULL,
    at_us       bigint NOT NULL
);

CREATE TABLE site_mode (                                          -- a visit or a drill; append-only, cancelled by a newer row
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    site        integer NOT NULL REFERENCES site,
    from_us     bigint NOT NULL,
    to_us       bigint NOT NULL CHECK (to_us > from_us),
    mode        text NOT NULL CHECK (mode IN ('visit', 'drill')),
    reason      text NOT NULL,
    author      text NOT NULL,
    at_us       bigint NOT NULL,
    cancelled   boolean NOT NULL DEFAULT false
);
