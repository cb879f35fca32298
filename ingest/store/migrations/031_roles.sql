-- Who may see and do what: a role, and the part of the tree that it holds for.

ALTER TABLE account
    DROP CONSTRAINT account_role_check,
    DROP CONSTRAINT account_check,
    ADD COLUMN area text CHECK (area ~ '^([0-9]{2}|[0-9]{4}|[0-9]{6}|[0-9]{9}|[0-9]{12})?$');  -- head of region codes; '' everything; NULL: account_site
UPDATE account SET role = 'city', area = '' WHERE role = 'admin';
ALTER TABLE account
    ADD CHECK (role IN ('city', 'town', 'staff', 'installer', 'auditor', 'platform')),
    ADD CHECK (role <> 'city' OR area IS NOT DISTINCT FROM ''),
    ADD CHECK (role <> 'town' OR length(area) > 0);

CREATE TABLE account_site (                                       -- the sites of an account that holds no area
    account     integer NOT NULL REFERENCES account ON DELETE CASCADE,
    site        integer NOT NULL REFERENCES site ON DELETE CASCADE,
    PRIMARY KEY (account, site)
);
INSERT INTO account_site SELECT id, site FROM account WHERE site IS NOT NULL;
ALTER TABLE account DROP COLUMN site;

ALTER TABLE endpoint ADD COLUMN rotating boolean NOT NULL GENERATED ALWAYS AS (strpos(secret, ' ') > 0) STORED;  -- two secrets in use
ALTER TABLE api_token ADD COLUMN fields text[];                   -- what of an answer may leave; NULL: all of it
ALTER TABLE signin_link ADD COLUMN invitation boolean NOT NULL DEFAULT false;  -- lives for days, and asks for a password

CREATE INDEX site_region ON site (region);
CREATE INDEX mounting_place ON mounting (place);

CREATE FUNCTION account_sites(account integer) RETURNS integer[] LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    -- The sites an account may see; NULL: all there are.
    SELECT CASE WHEN a.area = '' THEN NULL
        WHEN a.area IS NULL THEN ARRAY(SELECT x.site FROM account_site x WHERE x.account = a.id ORDER BY x.site)
        ELSE ARRAY(SELECT s.id FROM site s WHERE s.region BETWEEN rpad(a.area, 12, '0') AND rpad(a.area, 12, '9') ORDER BY s.id) END
    FROM account a WHERE a.id = account_sites.account
$$;
