package postgres

import (
	"strconv"
	"strings"
	"testing"
)

var typical = []struct{ name, text string }{
	{"point", "SELECT id, name, email FROM customers WHERE id = $1"},
	{"update", "UPDATE orders SET total = total + 1 WHERE id = $1 RETURNING total"},
	{"join", "SELECT c.name, o.total, count(*) OVER (PARTITION BY c.id) FROM customers c JOIN orders o ON o.customer_id = c.id WHERE o.total > 10 ORDER BY o.total DESC LIMIT 20"},
	{"cte", "WITH recent AS (SELECT customer_id, sum(total) AS spent FROM orders WHERE id > 100 GROUP BY customer_id), best AS (SELECT * FROM recent WHERE spent > 1000) SELECT c.id, lower(c.name) AS name, coalesce(b.spent, 0) AS spent, (SELECT max(o.total) FROM orders o WHERE o.customer_id = c.id) AS top FROM customers c LEFT JOIN best b ON b.customer_id = c.id WHERE c.name ILIKE '%a%' AND c.id IN (SELECT customer_id FROM orders) ORDER BY spent DESC, c.id LIMIT 50 OFFSET 10"},
	{"view", "SELECT m FROM v_deep2 WHERE m LIKE 'A%'"},
	{"function", "SELECT lookup2(3), pure('x')"},
	{"do", "DO $$ DECLARE r record; BEGIN FOR r IN SELECT id FROM plain WHERE qty > 3 LOOP RAISE NOTICE '%', r.id; END LOOP; END $$"},
}

// BenchmarkCold is the analysis of a text that wasn't seen before: parsing
// included, the catalog's views and functions known.
func BenchmarkCold(b *testing.B) {
	for _, c := range typical {
		b.Run(c.name, func(b *testing.B) {
			env := testEnv(b)
			a := NewAnalyzer(0)
			b.ReportAllocs()
			for b.Loop() {
				a.Analyze(c.text, env)
			}
		})
	}
}

// BenchmarkParse is the share of the parser in BenchmarkCold.
func BenchmarkParse(b *testing.B) {
	for _, c := range typical {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if _, problem := parse(c.text); problem != "" {
					b.Fatal(problem)
				}
			}
		})
	}
}

// BenchmarkCached is the analysis of a text that was seen before.
func BenchmarkCached(b *testing.B) {
	for _, c := range typical {
		b.Run(c.name, func(b *testing.B) {
			env := testEnv(b)
			a := NewAnalyzer(100)
			b.ReportAllocs()
			for b.Loop() {
				a.Analyze(c.text, env)
			}
		})
	}
}

// BenchmarkLiterals is the analysis of a text that differs from an earlier one in
// its literals.
func BenchmarkLiterals(b *testing.B) {
	for _, c := range []struct{ name, text string }{
		{"point", "SELECT id, name, email FROM customers WHERE id = 4711"},
		{"update", "UPDATE orders SET total = total + 17 WHERE id = 4711 RETURNING total"},
		{"insert", "INSERT INTO plain (id, qty) VALUES (4711, 12), (4712, 13), (4713, 14)"},
	} {
		b.Run(c.name, func(b *testing.B) {
			env := testEnv(b)
			a := NewAnalyzer(4096)
			text := []byte(c.text)
			at := strings.Index(c.text, "47")
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				n++
				copy(text[at:], strconv.Itoa(1000+n%9000))
				a.Analyze(string(text), env)
			}
		})
	}
}

// BenchmarkLoad is the reading of a catalog, without the server's share.
func BenchmarkLoad(b *testing.B) {
	all, err := answers()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		if _, err := LoadCatalog(func(string) ([][]*string, error) { n++; return all[n-1], nil }); err != nil {
			b.Fatal(err)
		}
	}
}
