-- What reports rest on beside the roll-ups there are: 服务人次 of a whole site, corrections, acceptances, the key that signs.

CREATE TABLE rollup_site_service (                                -- 服务人次 per site and service slot, upserted in T1, exact with late data
    site        integer NOT NULL,
    slot_us     bigint NOT NULL,
    served      bigint NOT NULL DEFAULT 0,                        -- residents once each, whatever terminals they passed, and every anonymous passage
    anonymous   bigint NOT NULL DEFAULT 0,                        -- of those, the anonymous passages
    staff       bigint NOT NULL DEFAULT 0,                        -- staff and volunteers, once each; not among the served
    meals       bigint NOT NULL DEFAULT 0,                        -- of the served, those at a canteen's terminals
    PRIMARY KEY (site, slot_us)
);

INSERT INTO rollup_site_service (site, slot_us, served, anonymous, staff, meals)
SELECT p.site, r.slot_us, sum(r.served) - coalesce(sum(t.served), 0), sum(r.anonymous), sum(r.staff) - coalesce(sum(t.staff), 0),
       coalesce(sum(r.served) FILTER (WHERE p.room = 'canteen'), 0) - coalesce(sum(t.meals), 0)
FROM rollup_service r JOIN place p ON p.id = r.place
LEFT JOIN (                                                       -- who was counted before at another place of the site
    SELECT place, slot_us, count(*) FILTER (WHERE resident AND nth > 1) AS served,
           count(*) FILTER (WHERE NOT resident AND nth > 1) AS staff,
           count(*) FILTER (WHERE resident AND canteen AND meal > 1) AS meals
    FROM (SELECT s.place, s.slot_us, n.role = 'resident' AS resident, q.room = 'canteen' AS canteen,
                 row_number() OVER (PARTITION BY q.site, s.slot_us, s.person ORDER BY s.place) AS nth,
                 row_number() OVER (PARTITION BY q.site, s.slot_us, s.person, q.room = 'canteen' ORDER BY s.place) AS meal
          FROM served_person s JOIN person n ON n.id = s.person JOIN place q ON q.id = s.place) AS numbered
    GROUP BY place, slot_us) AS t ON t.place = r.place AND t.slot_us = r.slot_us
GROUP BY p.site, r.slot_us;

CREATE TABLE correction (                                         -- shown beside what was measured, never in its place; append-only
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    site        integer NOT NULL REFERENCES site,
    day         date NOT NULL,                                    -- local
    what        text NOT NULL CHECK (what IN ('opening_days', 'footfall', 'served', 'meals')),
    delta       bigint NOT NULL CHECK (delta <> 0),
    reason      text NOT NULL CHECK (reason <> ''),
    author      text NOT NULL,
    at_us       bigint NOT NULL
);
CREATE INDEX correction_site ON correction (site, day);

CREATE TABLE acceptance (                                         -- 验收: signed records, as they were signed; append-only
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    site        integer NOT NULL REFERENCES site,
    made_us     bigint NOT NULL,
    author      text NOT NULL,
    passed      boolean NOT NULL,
    body        bytea NOT NULL,                                   -- JSON, as signed
    signature   bytea NOT NULL                                    -- Ed25519 over body
);
CREATE INDEX acceptance_site ON acceptance (site, made_us);

CREATE TABLE evidence_key (                                       -- one row, made when something is first signed
    one         boolean PRIMARY KEY DEFAULT true CHECK (one),
    private     bytea NOT NULL,                                   -- Ed25519, 32 bytes
    public      bytea NOT NULL,
    created_us  bigint NOT NULL
);

CREATE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: enter a new row that takes the old one back', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON correction FOR EACH STATEMENT EXECUTE FUNCTION append_only();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON acceptance FOR EACH STATEMENT EXECUTE FUNCTION append_only();

CREATE INDEX alert_site_begin ON alert (site, begin_us);
