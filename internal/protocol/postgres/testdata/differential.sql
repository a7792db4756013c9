-- What the random statements of TestDifferential run over. All values are invented.
create table customers (
  id int primary key,
  name text not null,
  email text unique,
  card_number text,
  ssn text unique,
  phone text check (phone is null or length(phone) > 5),
  notes text,
  joined date not null default '2024-01-01'
);
insert into customers values
  (1, 'Ada L', 'quartzfield.one@example.com', '4111111111111111', '536-90-4399', '+1 415 555 0132', 'calls back', '2024-02-03'),
  (2, 'Grace H', 'wimbledrum.two@example.org', '5500005555555559', '457-55-5462', '+1 212 555 0187', 'likes mail', '2023-05-06'),
  (3, 'Alan T', 'joxvanket.three@example.net', '378282246310005', '402-11-7793', '+44 20 7946 0958', null, '2022-07-08'),
  (4, 'Zoë M', 'pfluegelhorn.four@example.de', '6011000990139424', '321-54-9876', '+49 30 901820', 'x', '2021-09-10'),
  (5, 'Nobody', null, null, null, null, '', '2020-11-12');
create table orders (
  id int primary key,
  customer_id int references customers (id),
  customer_email text references customers (email) on update cascade,
  total numeric(10, 2),
  tags text[] not null default '{}',
  doc jsonb not null default '{}'
);
insert into orders values
  (1, 1, 'quartzfield.one@example.com', 10.00, '{red,blue}', '{"k": "v", "n": 1}'),
  (2, 2, 'wimbledrum.two@example.org', 20.50, '{}', '{"list": [1, 2]}'),
  (3, 3, null, 7, '{green}', '{}');
create table plain (id int primary key, label text, qty int);
insert into plain values (1, 'alpha', 10), (2, 'beta', 20), (3, 'gamma', 30);
create view v_all as select * from customers;
create view v_mail as select id, email as label, length(email) as qty from customers;
create view v_swap as select id, email as name, name as email from customers;
create view v_deep as select v.id, upper(v.label) as label, v.qty from v_mail v;
create view v_agg as select string_agg(email, ';' order by id) as label, count(*)::int as qty from customers;
create view v_row as select c.id, row_to_json(c)::text as label, c as whole from customers c;
create view v_safe as select id, name as label, extract(year from joined)::int as qty from customers;
create materialized view mv_cards as select id, card_number as label from customers;
create function f_mail(i int) returns text language sql stable as 'select email from customers where id = $1';
create function f_rows() returns setof customers language sql stable as 'select * from customers';
create function f_named(out id int, out label text) returns setof record language sql stable as 'select id, ssn from customers';
create function f_up(t text) returns text language sql immutable as 'select upper($1)';
create function f_pl(i int) returns text language plpgsql stable as $$ declare r customers; begin select * into r from customers where id = i; return r.phone; end $$;
create function f_name(i int) returns text language plpgsql stable as $$ begin return (select name from customers where id = i); end $$;
analyze;
