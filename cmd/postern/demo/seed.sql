-- A small shop. Every value is invented: reserved domains, test card numbers,
-- telephone numbers set aside for fiction.
CREATE TABLE customers (
    id          integer PRIMARY KEY,
    name        text NOT NULL,
    email       text NOT NULL UNIQUE,
    phone       text,
    card_number text,
    city        text,
    notes       text,
    joined      date NOT NULL
);
INSERT INTO customers VALUES
    (1, 'Ines Marchetti',  'ines.marchetti@example.com',  '+1 415 555 0132',  '4111 1111 1111 1111', 'Trieste',   'prefers the morning',                               '2021-03-14'),
    (2, 'Tomasz Wilk',     'tomasz.wilk@example.org',     '+1 212 555 0187',  '5500 0055 5555 5559', 'Gdynia',    'write to t.wilk@example.net instead',               '2021-07-02'),
    (3, 'Hanna Lindqvist', 'hanna.lindqvist@example.net', '+44 20 7946 0958', '3782 822463 10005',   'Malmö',     NULL,                                                '2022-01-19'),
    (4, 'Kofi Mensah',     'kofi.mensah@example.com',     '+1 303 555 0144',  '6011 0009 9013 9424', 'Kumasi',    'refunds to IBAN DE89 3704 0044 0532 0130 00',       '2022-05-30'),
    (5, 'Mei-Ling Chu',    'meiling.chu@example.org',     '+1 206 555 0119',  '4012 8888 8888 1881', 'Tainan',    'VIP',                                               '2023-02-11'),
    (6, 'Rafael Ortega',   'rafael.ortega@example.net',   '+44 161 496 0745', '5105 1051 0510 5100', 'Valparaíso', 'called twice from +1 212 555 0163',                '2023-09-25'),
    (7, 'Sunniva Dahl',    'sunniva.dahl@example.com',    '+1 617 555 0171',  '4222 2222 2222 2',    'Ålesund',   NULL,                                                '2024-04-08'),
    (8, 'Yusuf Karaca',    'yusuf.karaca@example.org',    '+44 113 496 0212', '3714 496353 98431',   'Bursa',     'backup card 5555 5555 5555 4444',                   '2025-11-17');

CREATE TABLE orders (
    id          integer PRIMARY KEY,
    customer_id integer NOT NULL REFERENCES customers,
    item        text NOT NULL,
    amount      numeric(10, 2) NOT NULL,
    placed      timestamptz NOT NULL
);
INSERT INTO orders
SELECT n, 1 + n % 8, (ARRAY['kettle', 'lamp', 'stool', 'atlas', 'teapot'])[1 + n % 5], 9.5 + (n * 37) % 200, '2026-01-01 08:00+00'::timestamptz + n * interval '7 hours'
FROM generate_series(1, 40) n;

CREATE TABLE payments (
    id       integer PRIMARY KEY,
    order_id integer NOT NULL REFERENCES orders,
    status   text NOT NULL DEFAULT 'captured',
    amount   numeric(10, 2) NOT NULL
);
INSERT INTO payments SELECT id, id, 'captured', amount FROM orders;

CREATE SCHEMA metrics;
CREATE TABLE metrics.daily_sales (day date PRIMARY KEY, orders integer NOT NULL, revenue numeric(12, 2) NOT NULL);
INSERT INTO metrics.daily_sales
SELECT placed::date, count(*), sum(amount) FROM orders GROUP BY 1;
ANALYZE;
