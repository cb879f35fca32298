-- A check-in is entered by whoever sees the site and the person there: must_see, in access.sql.

CREATE OR REPLACE FUNCTION enter_check_in(site integer, person integer, method smallint, t_us bigint, at_us bigint, author text)
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    -- The desk of a site is made at its first check-in, at its canteen, else hall, else any place. Returns the frame's number;
    -- NULL where the site has no place. Numbers have no gaps: whoever adds one holds the desk's row until they commit.
DECLARE
    the_site site;
    the_desk integer;
    the_device integer;
    number bigint;
BEGIN
    PERFORM must_see(enter_check_in.site, enter_check_in.person);
    SELECT * INTO STRICT the_site FROM site s WHERE s.id = enter_check_in.site;
    SELECT g.id INTO the_desk FROM gateway g WHERE g.code = 'desk-' || the_site.shard;
    IF the_desk IS NULL THEN
        INSERT INTO gateway (code, shard) VALUES ('desk-' || the_site.shard, the_site.shard)
            ON CONFLICT (code) DO UPDATE SET code = excluded.code RETURNING id INTO the_desk;
        INSERT INTO desk (gateway, since_us) VALUES (the_desk, enter_check_in.at_us) ON CONFLICT DO NOTHING;
    END IF;
    UPDATE desk SET seq = seq + 1 WHERE gateway = the_desk RETURNING seq INTO number;
    SELECT d.id INTO the_device FROM device d JOIN mounting m ON m.device = d.id AND m.to_us IS NULL
        JOIN place p ON p.id = m.place AND p.site = the_site.id
        WHERE d.gateway = the_desk AND d.identity = 'desk/' || the_site.code;
    IF the_device IS NULL THEN
        INSERT INTO device (gateway, identity, class) VALUES (the_desk, 'desk/' || the_site.code, 'desk')
            ON CONFLICT (gateway, identity) DO UPDATE SET class = excluded.class RETURNING id INTO the_device;
        UPDATE mounting m SET to_us = enter_check_in.at_us WHERE m.device = the_device AND m.to_us IS NULL;
        INSERT INTO mounting (device, place, from_us)
            SELECT the_device, p.id, CASE WHEN EXISTS (SELECT FROM mounting m WHERE m.device = the_device) THEN enter_check_in.at_us ELSE 0 END
            FROM place p WHERE p.site = the_site.id
            ORDER BY array_position(ARRAY['canteen', 'hall'], p.room) NULLS LAST, p.id LIMIT 1;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'no place' USING ERRCODE = 'no_data_found';
        END IF;
        UPDATE register_version SET version = version + 1;
        PERFORM pg_notify('smartcare_register', '');
    END IF;
    INSERT INTO check_in VALUES (the_desk, number, 'desk/' || the_site.code, enter_check_in.person, enter_check_in.method,
        enter_check_in.t_us, enter_check_in.at_us, enter_check_in.author);
    RETURN number;
END
$$;
