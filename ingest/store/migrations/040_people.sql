-- People in the console: names apart from the register and encrypted, and what each person agreed to.

ALTER TABLE person ADD COLUMN ref text NOT NULL DEFAULT '';       -- number on their card or QR code, as their site gives it; '' none
CREATE UNIQUE INDEX person_ref ON person (site, ref) WHERE ref <> '';

CREATE TABLE person_name (                                        -- AES-256-GCM; the key is not in the database (api/sealing.py)
    person      integer PRIMARY KEY REFERENCES person ON DELETE CASCADE,
    sealed      bytea NOT NULL,
    author      text NOT NULL,
    at_us       bigint NOT NULL
);

CREATE TABLE consent (                                            -- a person without any row came by an import and agreed to everything
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    person      integer NOT NULL REFERENCES person ON DELETE CASCADE,
    purpose     text NOT NULL CHECK (purpose IN ('attendance', 'recognition', 'absence')),
    version     text NOT NULL,                                    -- of the notice that was shown
    given_us    bigint NOT NULL,
    channel     text NOT NULL CHECK (channel IN ('paper', 'counter', 'phone', 'online')),
    guardian    bytea,                                            -- who agreed in their place, sealed like a name; NULL: they themselves
    author      text NOT NULL,
    withdrawn_us bigint CHECK (withdrawn_us >= given_us),
    withdrawn_by text NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX consent_active ON consent (person, purpose) WHERE withdrawn_us IS NULL;
