-- How regions stand: every site of one's own, summed by the head of its region's code.

-- name: regions
-- digits: how many of the code tell apart; 0: each site by itself. served: 服务人次 since a time.
WITH mine AS (
    SELECT s.id, s.code, s.name, s.name_en, CASE WHEN %(digits)s = 0 THEN s.code ELSE left(s.region, %(digits)s) END AS part
    FROM site s
    WHERE (%(own)s::integer[] IS NULL OR s.id = ANY(%(own)s))
      AND s.region BETWEEN rpad(%(under)s, 12, '0') AND rpad(%(under)s, 12, '9')),
waiting AS (
    SELECT site, count(*) AS alerts, count(*) FILTER (WHERE severity = 'urgent' AND state = 'open') AS urgent
    FROM alert WHERE state IN ('open', 'acknowledged') AND site IS NOT NULL GROUP BY site),
served AS (
    SELECT m.id AS site, sum(r.served) AS served FROM mine m JOIN rollup_site_service r ON r.site = m.id AND r.slot_us >= %(since_us)s
    GROUP BY m.id)
SELECT m.part AS code, CASE WHEN %(digits)s = 0 THEN min(m.name) ELSE coalesce(min(r.name), m.part) END AS name,
       CASE WHEN %(digits)s = 0 THEN min(m.name_en) ELSE coalesce(min(r.name_en), '') END AS name_en, count(*) AS sites,
       count(*) FILTER (WHERE st.state = 'alert') AS alert, count(*) FILTER (WHERE coalesce(st.state, 'unknown') IN ('blind', 'unknown')) AS blind,
       count(*) FILTER (WHERE st.state = 'attention') AS attention, count(*) FILTER (WHERE st.state IN ('ok', 'closed')) AS ok,
       coalesce(sum(w.alerts), 0)::bigint AS alerts, coalesce(sum(w.urgent), 0)::bigint AS urgent,
       coalesce(sum(st.today_in), 0)::bigint AS today_in, coalesce(sum(st.today_passages), 0)::bigint AS today_passages,
       coalesce(sum(v.served), 0)::bigint AS served
FROM mine m LEFT JOIN site_status st ON st.site = m.id LEFT JOIN waiting w ON w.site = m.id LEFT JOIN served v ON v.site = m.id
LEFT JOIN region r ON %(digits)s > 0 AND r.code = rpad(m.part, 12, '0')
GROUP BY m.part ORDER BY coalesce(sum(w.urgent), 0) DESC, coalesce(sum(w.alerts), 0) DESC, m.part LIMIT 1000

-- name: heads
-- The shortest heads of codes that tell the sites apart: how many counties and towns there are.
SELECT count(DISTINCT left(region, 6)) AS counties, count(DISTINCT left(region, 9)) AS towns FROM site
WHERE (%(own)s::integer[] IS NULL OR id = ANY(%(own)s)) AND region BETWEEN rpad(%(under)s, 12, '0') AND rpad(%(under)s, 12, '9')

-- name: called
SELECT name, name_en FROM region WHERE code = rpad(%(under)s, 12, '0')
