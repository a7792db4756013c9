package postgres

import (
	"strings"
	"testing"
)

// TestEqualities says of which conditions no more can be told than which rows
// have equal values: the columns before the bar; those behind it tell more.
func TestEqualities(t *testing.T) {
	for _, test := range [][2]string{
		{"select 1 from customers a join customers b on a.email = b.email", "email | "},
		{"select 1 from customers a, customers b where a.email = b.ssn and a.id = 1", "email = ssn | id"},
		{"select 1 from customers a, customers b where a.email pg_catalog.= b.ssn", "?"},
		{"select 1 from customers a, customers b where a.email operator(pg_catalog.=) b.ssn", "email = ssn | "},
		{"select count(*) from customers group by email", "email | "},
		{"select count(*) from customers group by customers.email", "email | "},
		{"select distinct email from customers", "email | "},
		{"select distinct on (email) id from customers", "email | "},
		{"select email from customers join (select email from customers) x using (email)", "email | "},
		{"select 1 from customers where email = 'a'", " | email"},
		{"select 1 from customers where email = $1", " | email"},
		{"select 1 from customers where email <> ssn", " | email ssn"},
		{"select 1 from customers where not (email = ssn)", " | email ssn"},
		{"select 1 from customers where email = ssn or id = 1", " | email ssn id"},
		{"select 1 from customers where email = lower(ssn)", " | email ssn"},
		{"select 1 from customers where email = any(array[ssn])", " | email ssn"},
		{"select 1 from customers where email = ssn and 1/id > 0", " | email ssn id"},
		{"select 1 from customers order by email", " | email"},
		{"select count(*) from customers group by left(email, 1)", " | email"},
		{"select count(*) from customers group by 1, email having max(email) = 'a'", "email | email"},
		{"select 1 from customers a join (select upper(email) as email from customers) b on a.email = b.email", " | email"},
		{"select email from customers union select ssn from customers", " | email ssn"},
		{"update customers set name = 'x' from customers o where o.email = customers.ssn", "email = ssn | "},
		{"select 1 from v_mail a join v_mail b on a.mail = b.mail", "email | "},
		{"select case when a.email = b.ssn then 1 end from customers a, customers b", " | email ssn"},
	} {
		a := analysed(t, test[0], testEnv(t))
		c := &a.Statements[0].Command
		got := strings.Join(c.Attr("equal_columns").Strings, ", ") + " | " + strings.Join(c.Attr("compared_columns").Strings, " ")
		if got = strings.ReplaceAll(got, "public.customers.", ""); c.Verb == "unknown" {
			got = "?"
		}
		if got != test[1] {
			t.Errorf("%s:\n got %s\nwant %s", test[0], got, test[1])
		}
		if all := c.Attr("predicate_columns").Strings; test[1] != "?" && len(all) == 0 {
			t.Errorf("%s: no predicates", test[0])
		}
	}
}
