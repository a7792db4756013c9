-- What the attacks of guardrails.jsonl run over. All values are invented.
do $$ begin
  if not exists (select from pg_roles where rolname = 'owner') then create role owner login; end if;
  if not exists (select from pg_roles where rolname = 'app') then create role app login; end if;
end $$;
alter role app password 'app';
alter role owner password 'owner';
grant all on schema public to owner, app;
set role owner;
create table customers (id int primary key, name text not null, email text unique);
insert into customers values (1, 'Ada', 'ada@example.com'), (2, 'Grace', 'grace@example.org'), (3, 'Alan', null);
create table orders (id serial primary key, customer_id int references customers (id), total numeric(10, 2));
insert into orders (customer_id, total) values (1, 10.00), (2, 20.50);
create table plain (id int primary key, label text, qty int);
insert into plain values (1, 'alpha', 10), (2, 'beta', 20), (3, 'gamma', 30);
create sequence plain_seq;
grant select, insert, update, delete on customers, orders, plain to app;
grant usage, select, update on all sequences in schema public to app;
reset role;
