-- A purpose of its own: what concerns a single person leaves for a platform only with their consent to that.

ALTER TABLE consent DROP CONSTRAINT consent_purpose_check,
    ADD CONSTRAINT consent_purpose_check CHECK (purpose IN ('attendance', 'recognition', 'absence', 'platform'));
