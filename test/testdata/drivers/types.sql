SELECT NULL::text AS nothing, ''::text AS empty, true AS yes, 42::int2 AS small, -7::int4 AS int,
       9007199254740993::int8 AS big, 1.5::float8 AS float, 'NaN'::float4 AS nan, 12345.678900::numeric AS numeric,
       'naïve 🐘'::text AS text, 'ab'::char(4) AS padded, '\x00ff10'::bytea AS bytes,
       '2026-02-28 23:59:59.123456+05:30'::timestamptz AS moment, '2026-02-28 23:59:59'::timestamp AS local,
       '2024-02-29'::date AS date, '23:59:59.5'::time AS time, '1 day 02:03:04'::interval AS interval,
       '{1,NULL,3}'::int4[] AS numbers, ARRAY['a', 'b "c"', NULL, ''] AS texts, '{{1,2},{3,4}}'::int8[] AS matrix,
       '{"a": [1, null, {"b": "ü"}]}'::json AS json, '{"z": 1, "a": "x"}'::jsonb AS jsonb,
       'b0a7c6e2-5d1f-4b58-9c11-1fa1d7f0a001'::uuid AS uuid, '10.1.2.3/24'::inet AS inet,
       '[1,5)'::int4range AS range, ROW(1, 'x'::text) AS row, '(1,2)'::point AS point, 'now'::name AS name
