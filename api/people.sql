-- Queries about persons: residents, staff, volunteers. %(sites)s are the sites that the reader may see; NULL reads all.

-- name: persons
-- With what they agreed to, and how they are known. Without a row of consent: everything, by an import.
SELECT p.id, s.id AS site_id, s.code AS site, s.name AS site_name, s.name_en AS site_name_en, s.zone, p.role, p.ref, p.consent_from_us,
       EXISTS (SELECT FROM person_name n WHERE n.person = p.id) AS named,
       CASE WHEN EXISTS (SELECT FROM consent c WHERE c.person = p.id)
            THEN ARRAY(SELECT c.purpose FROM consent c WHERE c.person = p.id AND c.withdrawn_us IS NULL ORDER BY c.purpose)
            ELSE ARRAY['absence', 'attendance', 'platform', 'recognition'] END AS purposes,
       (SELECT count(*) FROM person_link l WHERE l.person = p.id) AS links,
       (SELECT max(d.day) FROM person_day d WHERE d.person = p.id) AS last_day
FROM person p JOIN site s ON s.id = p.site
WHERE p.consent_to_us IS NULL AND (%(sites)s::integer[] IS NULL OR p.site = ANY(%(sites)s))
  AND (%(id)s::integer IS NULL OR p.id = %(id)s) AND (%(site)s::text IS NULL OR s.code = %(site)s)
  AND (%(role)s::text IS NULL OR p.role = %(role)s) AND p.id > %(after)s
ORDER BY p.id LIMIT %(limit)s

-- name: add_person
INSERT INTO person (token, site, role, consent_from_us, ref)
VALUES (%(token)s, %(site)s, %(role)s, %(from_us)s, %(ref)s) RETURNING id

-- name: change_person
UPDATE person SET role = %(role)s, ref = %(ref)s WHERE id = %(person)s

-- name: token_of
SELECT token FROM person WHERE id = %(person)s

-- name: by_ref
SELECT id FROM person WHERE site = %(site)s AND ref = %(ref)s AND consent_to_us IS NULL

-- name: put_name
INSERT INTO person_name (person, sealed, author, at_us) VALUES (%(person)s, %(sealed)s, %(author)s, %(now_us)s)
ON CONFLICT (person) DO UPDATE SET sealed = excluded.sealed, author = excluded.author, at_us = excluded.at_us

-- name: names
-- looks: only of those whom someone is to visit, and whom the author entered lately.
SELECT n.person, n.sealed FROM person_name n WHERE n.person = ANY(%(persons)s)
  AND (NOT %(looks)s OR n.author = %(author)s AND n.at_us > %(since_us)s
       OR EXISTS (SELECT FROM visit_task v WHERE v.person = n.person AND v.state = 'open'))

-- name: consents
SELECT id, purpose, version, given_us, channel, guardian, author, withdrawn_us, withdrawn_by
FROM consent WHERE person = %(person)s ORDER BY id

-- name: give_consent
INSERT INTO consent (person, purpose, version, given_us, channel, guardian, author)
VALUES (%(person)s, %(purpose)s, %(version)s, %(given_us)s, %(channel)s, %(guardian)s, %(author)s)
ON CONFLICT (person, purpose) WHERE withdrawn_us IS NULL DO NOTHING RETURNING id

-- name: withdraw_consent
UPDATE consent SET withdrawn_us = greatest(%(now_us)s, given_us), withdrawn_by = %(author)s
WHERE person = %(person)s AND purpose = %(purpose)s AND withdrawn_us IS NULL RETURNING id

-- name: links
SELECT g.code AS gateway, d.identity, d.class, l.local_id, l.device
FROM person_link l JOIN device d ON d.id = l.device JOIN gateway g ON g.id = d.gateway
WHERE l.person = %(person)s ORDER BY g.code, d.identity, l.local_id

-- name: terminals
-- Terminals of a site that a person could be known to.
SELECT d.id, d.identity, d.name, d.class, p.name AS place, p.name_en AS place_en
FROM device d JOIN mounting m ON m.device = d.id AND m.to_us IS NULL JOIN place p ON p.id = m.place
WHERE p.site = %(site)s AND d.class = ANY(%(classes)s) ORDER BY p.name, d.identity

-- name: link
INSERT INTO person_link (device, local_id, person) VALUES (%(device)s, %(local_id)s, %(person)s)
ON CONFLICT (device, local_id) DO NOTHING RETURNING device

-- name: unlink
DELETE FROM person_link WHERE person = %(person)s AND device = %(device)s AND local_id = %(local_id)s RETURNING device

-- name: unlink_faces
DELETE FROM person_link l USING device d WHERE d.id = l.device AND l.person = %(person)s AND d.class = ANY(%(classes)s)

-- name: pass_nothing_on
-- What waits to be told to platforms about a person.
UPDATE outbox SET state = 'superseded', done_us = %(now_us)s
WHERE state = 'pending' AND endpoint IN (SELECT id FROM endpoint WHERE kind = 'webhook')
  AND alert IN (SELECT id FROM alert WHERE subject_kind = 'person' AND subject = %(person)s)

-- name: absences
-- Announced and not taken back: the newest row about the same time decides.
SELECT from_us, to_us, reason, author
FROM (SELECT DISTINCT ON (from_us, to_us) from_us, to_us, reason, author, cancelled FROM planned_absence
      WHERE person = %(person)s ORDER BY from_us, to_us, id DESC) newest
WHERE NOT cancelled ORDER BY from_us

-- name: days
SELECT d.day::text AS day, s.code AS site, d.visits, d.first_us, d.last_us
FROM person_day d JOIN site s ON s.id = d.site WHERE d.person = %(person)s ORDER BY d.day

-- name: passages
SELECT e.t_us, p.name AS place, s.code AS site, e.method, e.result
FROM seen_passage e LEFT JOIN place p ON p.id = e.place LEFT JOIN site s ON s.id = p.site
WHERE e.person = %(person)s ORDER BY e.t_us DESC LIMIT %(limit)s

-- name: visits
SELECT created_us, due_us, state, result, note, done_us FROM visit_task WHERE person = %(person)s ORDER BY id

-- name: check_in
SELECT enter_check_in(%(site)s, %(person)s, %(method)s::smallint, %(t_us)s, %(at_us)s, %(author)s)

-- name: checked_in
-- Today's check-ins at a site's desk, the newest first.
SELECT c.person, c.method, c.t_us, c.author FROM check_in c
WHERE c.device = 'desk/' || %(site)s::text AND c.t_us >= %(from_us)s ORDER BY c.gateway, c.seq DESC LIMIT 50
