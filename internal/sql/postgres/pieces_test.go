package postgres

import (
	"slices"
	"strings"
	"testing"
)

// checkPieces holds what a statement takes apart against want: columns of table
// customers, in order, but for its number.
func checkPieces(t *testing.T, text, want string) {
	t.Helper()
	a := analysed(t, text, testEnv(t))
	var got []string
	for i := range a.Statements {
		for _, c := range a.Statements[i].Pieces {
			if c.Column != "id" {
				got = append(got, c.Column)
			}
		}
	}
	slices.Sort(got)
	if s := strings.Join(slices.Compact(got), " "); s != want {
		t.Errorf("%s\ngot  %q\nwant %q", text, s, want)
	}
}

// TestPieces holds which functions, operators and clauses leave nothing for a
// mask by content to find, and which pass text on whole.
func TestPieces(t *testing.T) {
	for _, c := range []struct{ want, texts string }{
		{"notes", `select substr(notes, strpos(notes, 'card') + 5, 8), substr(notes, strpos(notes, 'card') + 13) from customers
select left(notes, 5) from customers
select left(notes, -1) from customers
select right(notes, 4) from customers
select substr(notes, 2, 3) from customers
select substring(notes from 'card ([0-9]{8})') from customers
select substring(notes from 10 for 3) from customers
select reverse(notes) from customers
select translate(notes, '0123456789', 'abcdefghij') from customers
select replace(notes, '5', 'five') from customers
select overlay(notes placing 'x' from 3) from customers
select split_part(notes, ' ', 2) from customers
select regexp_replace(notes, '(\d)', '\1 ', 'g') from customers
select regexp_matches(notes, '\d{8}', 'g') from customers
select regexp_split_to_table(notes, '') from customers
select c from customers, string_to_table(notes, null) c
select ascii(substr(notes, g, 1)) from customers, generate_series(1, length(notes)) g
select encode(notes::bytea, 'hex') from customers
select get_byte(notes::bytea, 17) from customers
select md5(notes) from customers
select lpad(notes, 9) from customers
select rtrim(notes, '4') from customers
select notes::char(20) from customers
select notes::varchar(30) from customers
select notes::name from customers
select 'x' || notes from customers
select notes || '7' from customers
select concat('x', notes) from customers
select format('%sx', notes) from customers
select format('%1$s', notes) from customers
select string_agg(notes, '') from customers
select array_to_string(array[notes, notes], '') from customers
select to_tsvector('simple', notes) from customers
select ts_headline(notes, to_tsquery('vip')) from customers
select id from customers where notes like '%55%'
select id from customers where notes like '%ada_private%'
select id from customers where notes ~ ('card' || '[5]')
select id from customers where notes > 'm'
select id from customers where notes between 'a' and 'b'
select id from customers where strpos(notes, '5555') > 0
select id from customers where position('5555' in notes) > 0
select id from customers where starts_with(notes, 'VIP')
select id from customers where notes = substr('abc', id)
select g from customers join generate_series(1, 9) g on notes = 'ssn ' || g
select id from customers where notes in (select 'ssn ' || g from generate_series(1, 9) g)
select notes = v from customers, (values ('a'), ('b')) x(v)
select id from customers order by reverse(notes)
select notes from customers union all select 'm' order by 1
select rank() over (order by notes || 'a') from customers
select greatest(notes, 'm') from customers
select count(distinct substr(notes, 5)) from customers
select case when notes like '%5%' then 1 end from customers
select sum(length(replace(notes, '5', ''))) from customers
select (select substr(notes, 9) from customers where id = 1)
with x as (select notes n from customers) select substr(n, 9) from x
select x.* from customers, lateral (select substr(notes, 9)) x
insert into plain select 9, substr(notes, 9), 0 from customers
create temp table w as select substr(notes, 9) s from customers
copy (select substr(notes, 9) from customers) to stdout
explain analyze select 1 from customers where notes like '%5%'
do $$ begin perform 1 from customers where notes like '%5%'; end $$`},
		{"", `select notes, upper(notes), lower(notes), length(notes), id from customers
select left(notes, 4), substr(notes, 1, 3), substring(notes from 1 for 2) from customers
select coalesce(notes, ''), nullif(notes, ''), notes is null from customers
select notes::text, notes::varchar from customers
select 'note: ' || notes || ' ' || name from customers
select concat(name, ' ', notes), format('(%s), (%s)', name, notes) from customers
select string_agg(notes, ', ' order by id) from customers
select array_agg(notes order by notes), max(notes), min(notes) from customers
select json_build_object('n', notes), row_to_json(customers), jsonb_agg(notes) from customers
select to_jsonb(customers)->>'notes' from customers
select id from customers where notes = 'x'
select id from customers where notes = $1 or notes in ($2, 'y')
select id from customers where lower(notes) = lower($1)
select id from customers where notes <> 'x' and notes is not null
select id from customers where notes = any($1)
select id from customers where notes like '%VIP%'
select id from customers where notes ilike 'r%'
select id from customers where to_tsvector('english', notes) @@ plainto_tsquery('english', 'rings back')
select count(*), notes from customers group by notes having count(*) > 1 order by notes
select distinct notes from customers
select a.id from customers a join customers b on a.notes = b.notes
select a.id from customers a join customers b using (notes)
select id from customers where notes in (select notes from customers)
select case notes when 'x' then 1 else 0 end from customers
select case when id > 2 then notes end from customers
select row_number() over (partition by notes order by name) from customers
select exists (select 1 from customers where notes = 'x')
insert into plain select id, notes, 0 from customers`},
	} {
		for text := range strings.SplitSeq(c.texts, "\n") {
			checkPieces(t, text, c.want)
		}
	}
}

// TestSearches holds that what is searched for by a parameter is told apart from
// what isn't known at all.
func TestSearches(t *testing.T) {
	env := testEnv(t)
	st := NewAnalyzer(0).Analyze(`select id from customers where notes ilike '%' || $2 || '%'`, env).Statements[0]
	if len(st.Pieces) != 0 || len(st.Searches) != 1 || st.Searches[0].Param != 2 || st.Searches[0].Columns[0].Column != "notes" {
		t.Errorf("pieces %v, searches %v", st.Pieces, st.Searches)
	}
	// What EXECUTE gives isn't looked at.
	all := NewAnalyzer(0).Analyze(`prepare p as select id from customers where notes like $1; execute p('%5%')`, env).Statements
	if len(all[1].Pieces) != 1 {
		t.Errorf("EXECUTE: pieces %v", all[1].Pieces)
	}
}

// TestIndexUses holds that an index is known to look at what it is built of:
// messages about it may quote that.
func TestIndexUses(t *testing.T) {
	for _, text := range []string{`create index on customers (ssn)`, `create unique index i on customers (reverse(ssn))`, `create index on customers (ssn text_pattern_ops)`} {
		st := NewAnalyzer(0).Analyze(text, testEnv(t)).Statements[0]
		if len(st.Uses) != 1 || st.Uses[0].Column != "ssn" {
			t.Errorf("%s: uses %v", text, st.Uses)
		}
	}
}
