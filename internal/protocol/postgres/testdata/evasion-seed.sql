-- What evasion-masking.jsonl is tried on. All values are invented.
-- app is who comes through the gateway: it may read and write, and create in
-- schema public. owner owns the tables.
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'owner') THEN CREATE ROLE owner LOGIN; END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'app') THEN CREATE ROLE app LOGIN; END IF;
END $$;
ALTER ROLE app PASSWORD 'app';
ALTER ROLE owner PASSWORD 'owner';
GRANT ALL ON SCHEMA public TO owner, app;
SET ROLE owner;
CREATE TABLE customers(
  id int PRIMARY KEY, name text NOT NULL, email text UNIQUE, card_number text, ssn text UNIQUE,
  phone text CHECK (phone IS NULL OR length(phone) > 5), notes text);
INSERT INTO customers VALUES
  (1, 'Ines Marlow', 'ines.marlow@example.com', '4012888888881881', '219-09-9481', '+1 415 555 0177', 'VIP; other mail ines.home@example.net; spare card 5105105105105100'),
  (2, 'Otto Brandt', 'otto.brandt@example.org', '5200828282828210', '429-31-7788', '+1 212 555 0163', 'rings back'),
  (3, 'Petra Novak', 'petra.novak@example.de', '371449635398431', '612-44-1029', '+49 30 5550199', 'ssn on file 612-44-1029'),
  (4, 'Nobody', NULL, NULL, NULL, NULL, 'nothing to see');
CREATE TABLE orders(id serial PRIMARY KEY, customer_id int REFERENCES customers(id), customer_email text REFERENCES customers(email), total numeric(10,2), placed date);
INSERT INTO orders(customer_id, customer_email, total, placed) VALUES
  (1, 'ines.marlow@example.com', 10.00, '2025-01-05'), (1, NULL, 5.25, '2025-02-07'), (2, 'otto.brandt@example.org', 20.50, '2025-02-11');
CREATE TABLE plain(id int PRIMARY KEY, label text, qty int);
INSERT INTO plain VALUES (1, 'alpha', 10), (2, 'beta', 20), (3, 'gamma', 30);
CREATE TABLE events(id int PRIMARY KEY, at timestamptz, kind text, body jsonb, tags text[]);
INSERT INTO events VALUES
  (1, '2025-03-01 10:00+00', 'click', '{"page": "/home", "ms": 12}', '{a,b}'),
  (2, '2025-03-01 11:00+00', 'click', '{"page": "/cart", "ms": 40}', '{b}'),
  (3, '2025-03-02 09:30+00', 'buy', '{"page": "/pay", "items": [1, 2]}', '{}');
CREATE TYPE home AS (street text, zip int);
CREATE TYPE grade AS ENUM ('low', 'middlegrade', 'high');
CREATE DOMAIN payno AS text CHECK (value ~ '^PN');
CREATE TABLE staff(
  id int PRIMARY KEY, name text, s_num numeric(10,2), s_date date, s_ts timestamptz, s_int int, s_big bigint, s_float float8, s_uuid uuid,
  s_inet inet, s_arr text[], s_json jsonb, s_js json, s_xml xml, s_raw bytea, s_range int4range, s_home home, s_dom payno, s_grade grade,
  s_point point, s_gap interval, s_mac macaddr, s_bits bit(16), s_vec tsvector, s_mrange int4multirange, s_nums int[], s_flag bool, s_time time, s_money money);
INSERT INTO staff VALUES (1, 'Ines', 73519.25, '1987-03-29', '2019-11-23 04:05:06+00', 482137, 7301984455123, 6021.4075, '5ad7c1e0-93b4-4f2e-8f61-6c2f0b7a91d3',
  '10.83.147.29', '{walnut,quartz}', '{"diagnosis": "walnut"}', '{"diagnosis":"quartz"}', '<r>walnut</r>', 'walnut', '[482137,482999)', '(walnut street,73519)', 'PN73519', 'middlegrade',
  '(6021.4075,482137)', '482137 seconds', '08:00:2b:73:51:19', 'B1011011100110101', 'walnut:1 quartz:2', '{[482137,482999)}', '{482137,735193}', true, '04:05:06.735193', '73519.25');
INSERT INTO staff(id, name) VALUES (2, 'Otto');
CREATE VIEW contact AS SELECT id, name, email AS reach FROM customers;
CREATE VIEW contact2 AS SELECT id, reach AS id_text FROM contact;
CREATE VIEW busy AS SELECT c.id, c.name, count(o.id) AS orders, sum(o.total) AS total FROM customers c LEFT JOIN orders o ON o.customer_id = c.id GROUP BY c.id, c.name;
CREATE MATERIALIZED VIEW mat AS SELECT id, lower(email) AS low FROM customers;
CREATE TABLE logs(id int, day date, line text) PARTITION BY RANGE (day);
CREATE TABLE logs_1 PARTITION OF logs FOR VALUES FROM ('2025-01-01') TO ('2025-02-01');
CREATE TABLE logs_2 PARTITION OF logs FOR VALUES FROM ('2025-02-01') TO ('2025-03-01');
INSERT INTO logs VALUES (1, '2025-01-05', 'started'), (2, '2025-02-05', 'stopped');
CREATE SEQUENCE counter;
GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER ON ALL TABLES IN SCHEMA public TO app;
GRANT USAGE, UPDATE, SELECT ON ALL SEQUENCES IN SCHEMA public TO app;
ANALYZE;
RESET ROLE;
