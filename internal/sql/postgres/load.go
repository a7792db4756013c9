package postgres

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// LoadCatalog reads a database's catalog through query, which runs one query
// and returns its rows in text format, nil for NULL. The queries need no
// privileges beyond an ordinary user's. All of them must see one snapshot, and
// no name but the server's own: the caller runs them in one REPEATABLE READ,
// READ ONLY transaction with search_path set to pg_catalog.
func LoadCatalog(query func(sql string) ([][]*string, error)) (*Catalog, error) {
	c := &Catalog{
		Relations:   map[uint32]*Relation{},
		Functions:   map[uint32]*Function{},
		Types:       map[uint32]*Type{},
		operators:   map[string][]*operator{},
		casts:       map[uint32][]uint32{},
		reach:       reach{schemas: map[string]bool{}, open: map[string]bool{}, rights: map[string]rights{}},
		assigning:   map[uint32][]uint32{},
		converts:    map[uint32][]uint32{},
		owners:      map[string]map[string]bool{},
		transitions: map[string]bool{},
	}
	digest := sha256.New()
	for _, part := range parts {
		rows, err := query(part.query(c.Server))
		if err != nil {
			return nil, fmt.Errorf("read the catalog's %s: %w", part.name, err)
		}
		_, _ = digest.Write([]byte("\x00\x02" + part.name)) // a hash never returns an error
		for _, columns := range rows {
			for _, value := range columns {
				if value == nil {
					_, _ = digest.Write([]byte{0, 0})
				} else {
					_, _ = digest.Write([]byte("\x00\x01" + strconv.Itoa(len(*value)) + ":" + *value))
				}
			}
			r := row{columns: columns}
			part.read(c, &r)
			if r.err != nil {
				return nil, fmt.Errorf("read the catalog's %s: %w", part.name, r.err)
			}
		}
	}
	c.Version = hex.EncodeToString(digest.Sum(nil)[:16])
	c.index()
	return c, nil
}

// part is one query of the catalog, and what becomes of its rows.
type part struct {
	name  string
	query func(server int) string
	read  func(c *Catalog, r *row)
}

// initdbEnd asks for a number that transactions of initdb's don't exceed, and later ones
// do: rows of the server's own objects that one of those has written aren't as they came.
// The databases are what it makes last. There are some 750 of its transactions, which
// counts where all those databases have been altered.
const initdbEnd = `(SELECT LEAST(pg_catalog.min(d.xmin::text::bigint), 1000) FROM pg_catalog.pg_database d WHERE d.oid < 16384)`

func always(text string) func(int) string { return func(int) string { return text } }

// parts in the order in which they are read: later ones refer to earlier ones.
var parts = [...]part{
	{"version", always(`SELECT current_setting('server_version_num')`), func(c *Catalog, r *row) {
		c.Server = int(r.number())
	}},
	{"schemas", always(`SELECT nspname, pg_catalog.has_schema_privilege('public', oid, 'USAGE') FROM pg_catalog.pg_namespace ORDER BY oid`), func(c *Catalog, r *row) {
		schema := r.text()
		c.schemas[schema], c.open[schema] = true, r.flag()
	}},
	// Where roles and schemas are so many that asking about each pair takes seconds,
	// nothing is known of the roles that the session's user may become.
	{"rights", always(`
SELECT r.rolname, r.rolsuper, CASE WHEN NOT r.rolsuper THEN ARRAY(
  SELECT n.nspname FROM pg_catalog.pg_namespace n
  WHERE n.nspname !~ '^pg_(toast|temp_)' AND NOT pg_catalog.has_schema_privilege('public', n.oid, 'USAGE')
    AND pg_catalog.has_schema_privilege(r.oid, n.oid, 'USAGE') ORDER BY n.oid)::text END
FROM pg_catalog.pg_roles r
WHERE r.rolname = session_user OR r.oid IN (SELECT p.proowner FROM pg_catalog.pg_proc p WHERE p.prosecdef)
   OR (SELECT pg_catalog.count(*) FROM pg_catalog.pg_roles) * (SELECT pg_catalog.count(*) FROM pg_catalog.pg_namespace) < 1000000
      AND pg_catalog.pg_has_role(session_user, r.oid, 'MEMBER')
ORDER BY r.oid`), readRights},
	{"types", func(server int) string {
		of := "(SELECT rngsubtype FROM pg_catalog.pg_range WHERE rngtypid = t.oid)"
		if server >= 140000 {
			of = "COALESCE(" + of + ", (SELECT rngtypid FROM pg_catalog.pg_range WHERE rngmultitypid = t.oid))"
		}
		return `
SELECT t.oid, n.nspname, t.typname, t.typtype, t.typcategory, t.typelem, t.typbasetype, t.typrelid, t.typlen, COALESCE(` + of + `, 0)
FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace ORDER BY t.oid`
	}, readType},
	{"relations", always(`
SELECT c.oid, n.nspname, c.relname, c.relkind, pg_catalog.pg_get_userbyid(c.relowner),
       CASE WHEN c.relkind IN ('v', 'm') AND (c.oid >= 16384 OR EXISTS (
         SELECT FROM pg_catalog.pg_rewrite w WHERE w.oid < 16384 AND w.xmin::text::bigint > ` + initdbEnd + `))
         THEN pg_catalog.pg_get_viewdef(c.oid) END,
       CASE WHEN h.prosrc = 'file_fdw_handler' THEN 'file_fdw' ELSE w.fdwname END ||
       CASE WHEN EXISTS (SELECT FROM pg_catalog.unnest(t.ftoptions) o WHERE o LIKE 'program=%') THEN ' program' ELSE '' END,
       c.reloftype
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_foreign_table t ON t.ftrelid = c.oid
LEFT JOIN pg_catalog.pg_foreign_server s ON s.oid = t.ftserver
LEFT JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid = s.srvfdw
LEFT JOIN pg_catalog.pg_proc h ON h.oid = w.fdwhandler
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c', 't') ORDER BY c.oid`), readRelation},
	{"columns", always(`
SELECT a.attrelid, a.attnum, a.attname, a.atttypid, a.attisdropped, a.attnotnull,
       CASE WHEN a.attgenerated <> '' THEN pg_catalog.pg_get_expr(d.adbin, d.adrelid) END
FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.attgenerated <> ''
WHERE a.attnum > 0 AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c', 't') ORDER BY a.attrelid, a.attnum`), readColumn},
	{"inheritance", always(`SELECT inhrelid, inhparent FROM pg_catalog.pg_inherits ORDER BY inhrelid, inhseqno`), func(c *Catalog, r *row) {
		child, parent := r.oid(), r.oid()
		if rel := c.Relations[child]; rel != nil {
			rel.Parents = append(rel.Parents, parent)
		}
	}},
	{"foreign keys", always(`
SELECT conrelid, conkey::text, confrelid, confkey::text, confdeltype NOT IN ('a', 'r') OR confupdtype NOT IN ('a', 'r')
FROM pg_catalog.pg_constraint WHERE contype = 'f' ORDER BY oid`), readForeignKey},
	{"rules", always(`
SELECT ev_class, pg_catalog.pg_get_ruledef(oid) FROM pg_catalog.pg_rewrite
WHERE rulename <> '_RETURN' AND oid >= 16384 ORDER BY oid`), func(c *Catalog, r *row) {
		relation, definition := r.oid(), r.text()
		if rel := c.Relations[relation]; rel != nil {
			rel.Rules = append(rel.Rules, Rule{Definition: definition})
		}
	}},
	{"triggers", always(`
SELECT tgrelid, tgfoid, tgtype, tgoldtable, tgnewtable, 0, oid, tgdeferrable FROM pg_catalog.pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'D'
UNION ALL
SELECT DISTINCT t.tgrelid, d.refobjid, t.tgtype, NULL::name, NULL::name, 1, t.oid, false FROM pg_catalog.pg_trigger t
JOIN (` + called + `) d ON d.classid = 'pg_catalog.pg_trigger'::regclass AND d.objid = t.oid
WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND d.refobjid <> t.tgfoid
ORDER BY 7, 6, 2`), func(c *Catalog, r *row) {
		relation, function, events := r.oid(), r.oid(), r.number() // a trigger's, or one of its condition
		for range 2 {
			if table := r.text(); table != "" {
				c.transitions[table] = true
			}
		}
		if rel := c.Relations[relation]; rel != nil {
			t := Trigger{Function: function, Events: int16(events), Condition: r.number() == 1}
			r.number() // its own
			t.Deferrable = r.flag()
			rel.Triggers = append(rel.Triggers, t)
		}
	}},
	{"event triggers", always(`SELECT evtfoid FROM pg_catalog.pg_event_trigger WHERE evtenabled <> 'D' ORDER BY oid`), func(c *Catalog, r *row) {
		c.eventTriggers = append(c.eventTriggers, r.oid())
	}},
	{"validators", always(`
SELECT v.kind, v.function FROM (
  SELECT 'w', fdwvalidator FROM pg_catalog.pg_foreign_data_wrapper UNION SELECT 'l', lanvalidator FROM pg_catalog.pg_language) v(kind, function)
JOIN pg_catalog.pg_proc p ON p.oid = v.function AND p.oid >= 16384 AND p.prolang NOT IN (12, 13) ORDER BY 1, 2`), func(c *Catalog, r *row) {
		if kind, function := r.char(), r.oid(); kind == 'w' {
			c.validators.wrapper = append(c.validators.wrapper, function)
		} else {
			c.validators.language = append(c.validators.language, function)
		}
	}},
	{"functions", func(server int) string {
		definition := "NULL::text"
		if server >= 140000 {
			definition = "CASE WHEN p.prosqlbody IS NOT NULL AND p.oid >= 16384 THEN pg_catalog.pg_get_functiondef(p.oid) END"
		}
		return `
SELECT p.oid, n.nspname, p.proname, p.proargtypes::text, p.pronargdefaults, p.provariadic <> 0, p.prokind, p.provolatile,
       p.prosecdef, p.proretset, p.prorettype, l.name,
       CASE WHEN (n.nspname <> 'pg_catalog' OR p.oid >= 16384) AND l.name IN ('sql', 'plpgsql', 'internal', 'c') THEN p.prosrc END, ` + definition + `,
       CASE WHEN p.oid >= 16384 THEN pg_catalog.pg_get_expr(p.proargdefaults, 0) END,
       p.proargnames::text, p.proargmodes::text, p.proallargtypes::text, p.proconfig::text,
       CASE WHEN p.oid >= 16384 OR p.prosecdef THEN pg_catalog.pg_get_userbyid(p.proowner) END,
       CASE WHEN l.name = 'c' THEN p.probin END
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
JOIN (` + languages + `) l(oid, name) ON l.oid = p.prolang ORDER BY p.oid`
	}, readFunction},
	{"aggregates", always(`
SELECT aggfnoid::oid, aggtransfn::oid, aggfinalfn::oid, aggcombinefn::oid, aggserialfn::oid, aggdeserialfn::oid,
       aggmtransfn::oid, aggminvtransfn::oid, aggmfinalfn::oid
FROM pg_catalog.pg_aggregate WHERE aggfnoid::oid >= 16384 ORDER BY 1`), func(c *Catalog, r *row) {
		f := c.Functions[r.oid()]
		for f != nil && r.next < len(r.columns) {
			if step := r.oid(); step != 0 {
				f.Calls = append(f.Calls, step)
			}
		}
	}},
	{"operators", always(`
SELECT o.oprname, n.nspname, p.oprcode::oid FROM pg_catalog.pg_operator o
JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
JOIN pg_catalog.pg_operator p ON p.oid IN (o.oid, o.oprnegate, o.oprcom) AND p.oid >= 16384 AND p.oprcode <> 0
WHERE o.oid >= 16384 ORDER BY o.oid, p.oid`), func(c *Catalog, r *row) { // the planner puts one in the place of another
		symbol := r.text()
		c.operators[symbol] = append(c.operators[symbol], &operator{schema: r.text(), fn: r.oid()})
	}},
	{"casts", always(`SELECT casttarget, castfunc, castcontext <> 'e', castsource FROM pg_catalog.pg_cast WHERE castfunc <> 0 AND oid >= 16384 ORDER BY oid`), func(c *Catalog, r *row) {
		target, function := r.oid(), r.oid()
		c.casts[target] = append(c.casts[target], function)
		if r.flag() {
			c.assigning[target] = append(c.assigning[target], function)
		}
		c.unasked(function, target, r.oid())
	}},
	{"comparisons", func(server int) string {
		types := "g.rngtypid"
		if server >= 140000 {
			types = "pg_catalog.unnest(ARRAY[g.rngtypid, g.rngmultitypid])"
		}
		return `
SELECT s.function, s.a, s.b FROM (
  SELECT amproc::oid, amproclefttype, amprocrighttype FROM pg_catalog.pg_amproc
  UNION
  SELECT op.oprcode::oid, ao.amoplefttype, ao.amoprighttype FROM pg_catalog.pg_amop ao JOIN pg_catalog.pg_operator op ON op.oid = ao.amopopr
  UNION
  SELECT ap.amproc::oid, t.t, t.t FROM (SELECT rngsubopc, ` + types + ` FROM pg_catalog.pg_range g) t(class, t)
  JOIN pg_catalog.pg_opclass o ON o.oid = t.class JOIN pg_catalog.pg_amproc ap ON ap.amprocfamily = o.opcfamily
  UNION
  SELECT g.rngcanonical::oid, g.rngtypid, g.rngtypid FROM pg_catalog.pg_range g) s(function, a, b)
WHERE s.function >= 16384 ORDER BY 1, 2, 3`
	}, func(c *Catalog, r *row) { c.unasked(r.oid(), r.oid(), r.oid()) }},
	{"dependencies", always(`WITH calls(classid, objid, refobjid) AS (` + called + `)
SELECT 'v', ad.adrelid, d.refobjid, ad.adnum FROM calls d JOIN pg_catalog.pg_attrdef ad ON d.classid = 'pg_catalog.pg_attrdef'::regclass AND ad.oid = d.objid
UNION ALL
SELECT 'w', co.conrelid, d.refobjid, 0 FROM calls d JOIN pg_catalog.pg_constraint co ON d.classid = 'pg_catalog.pg_constraint'::regclass AND co.oid = d.objid
WHERE co.conrelid <> 0
UNION ALL
SELECT 'd', co.contypid, d.refobjid, 0 FROM calls d JOIN pg_catalog.pg_constraint co ON d.classid = 'pg_catalog.pg_constraint'::regclass AND co.oid = d.objid
WHERE co.contypid <> 0
UNION ALL
SELECT 't', ty.oid, d.refobjid, 0 FROM calls d JOIN pg_catalog.pg_type ty ON d.classid = 'pg_catalog.pg_type'::regclass AND ty.oid = d.objid
WHERE ty.typtype = 'd'
UNION ALL
SELECT 'd', g.rngtypid, g.rngsubdiff::oid, 0 FROM pg_catalog.pg_range g WHERE g.rngsubdiff::oid >= 16384
UNION ALL
SELECT 'w', se.stxrelid, d.refobjid, 0 FROM calls d JOIN pg_catalog.pg_statistic_ext se ON d.classid = 'pg_catalog.pg_statistic_ext'::regclass AND se.oid = d.objid
UNION ALL
SELECT 'w', i.indrelid, d.refobjid, 0 FROM calls d JOIN pg_catalog.pg_index i ON d.classid = 'pg_catalog.pg_class'::regclass AND i.indexrelid = d.objid
UNION ALL
SELECT 'p', po.polrelid, d.refobjid, 0 FROM calls d JOIN pg_catalog.pg_policy po ON d.classid = 'pg_catalog.pg_policy'::regclass AND po.oid = d.objid
UNION ALL
SELECT 'k', d.objid, d.refobjid, 0 FROM calls d JOIN pg_catalog.pg_partitioned_table pt ON d.classid = 'pg_catalog.pg_class'::regclass AND pt.partrelid = d.objid
UNION ALL
SELECT u.kind, u.relation, f.function, 0 FROM (
  SELECT 'p', i.indrelid, k.k FROM pg_catalog.pg_index i, pg_catalog.unnest(i.indclass) k(k)
  UNION
  SELECT 'k', pt.partrelid, k.k FROM pg_catalog.pg_partitioned_table pt, pg_catalog.unnest(pt.partclass) k(k)) u(kind, relation, class)
JOIN pg_catalog.pg_opclass o ON o.oid = u.class AND o.opcfamily >= 16384
JOIN (
  SELECT ap.amprocfamily, ap.amproc::oid FROM pg_catalog.pg_amproc ap WHERE ap.amproc::oid >= 16384
  UNION
  SELECT ao.amopfamily, op.oprcode::oid FROM pg_catalog.pg_amop ao JOIN pg_catalog.pg_operator op ON op.oid = ao.amopopr WHERE op.oprcode::oid >= 16384) f(family, function) ON f.family = o.opcfamily
JOIN pg_catalog.pg_proc fp ON fp.oid = f.function JOIN pg_catalog.pg_language fl ON fl.oid = fp.prolang AND fl.oid NOT IN (12, 13)
ORDER BY 1, 2, 3, 4`), readDependency},
	{"unique", always(`
SELECT DISTINCT i.indrelid, k.k FROM pg_catalog.pg_index i, pg_catalog.unnest(i.indkey) k(k)
WHERE (i.indisunique OR i.indisexclusion) AND i.indrelid >= 16384 ORDER BY 1, 2`), func(c *Catalog, r *row) {
		relation, column := r.oid(), r.number()
		if rel := c.Relations[relation]; rel != nil {
			rel.Unique = append(rel.Unique, int16(column))
		}
	}},
	{"owners", always(`
SELECT r.rolname, pg_catalog.pg_get_userbyid(o.owner) FROM pg_catalog.pg_roles r, (
  SELECT relowner FROM pg_catalog.pg_class WHERE oid >= 16384 UNION SELECT proowner FROM pg_catalog.pg_proc WHERE oid >= 16384) o(owner)
WHERE r.rolcanlogin AND pg_catalog.pg_has_role(r.oid, o.owner, 'MEMBER')
UNION
SELECT rolname, rolname FROM pg_catalog.pg_roles WHERE rolcanlogin ORDER BY 1, 2`), func(c *Catalog, r *row) {
		login, owner := r.text(), r.text()
		if c.owners[login] == nil {
			c.owners[login] = map[string]bool{}
		}
		c.owners[login][owner] = true
	}},
	// With a session's temporary objects goes, asked or unasked, whatever hangs on them.
	{"passing", always(`
WITH RECURSIVE passing(classid, objid) AS (
  SELECT d.classid, d.objid FROM pg_catalog.pg_namespace n
  JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_namespace'::regclass AND d.refobjid = n.oid WHERE n.nspname ~ '^pg_(toast_)?temp_'
  UNION
  SELECT d.classid, d.objid FROM passing p CROSS JOIN LATERAL (
    SELECT h.classid, h.objid FROM pg_catalog.pg_depend h WHERE h.refclassid = p.classid AND h.refobjid = p.objid
    UNION ALL
    SELECT i.refclassid, i.refobjid FROM pg_catalog.pg_depend i WHERE i.classid = p.classid AND i.objid = p.objid AND i.deptype = 'i') d)
SELECT DISTINCT w.what FROM passing p CROSS JOIN LATERAL (
  SELECT 'relation ' || relname, relnamespace FROM pg_catalog.pg_class WHERE oid = CASE p.classid
    WHEN 'pg_catalog.pg_class'::regclass THEN p.objid
    WHEN 'pg_catalog.pg_rewrite'::regclass THEN (SELECT ev_class FROM pg_catalog.pg_rewrite WHERE oid = p.objid)
    WHEN 'pg_catalog.pg_attrdef'::regclass THEN (SELECT adrelid FROM pg_catalog.pg_attrdef WHERE oid = p.objid)
    WHEN 'pg_catalog.pg_trigger'::regclass THEN (SELECT tgrelid FROM pg_catalog.pg_trigger WHERE oid = p.objid)
    WHEN 'pg_catalog.pg_policy'::regclass THEN (SELECT polrelid FROM pg_catalog.pg_policy WHERE oid = p.objid)
    WHEN 'pg_catalog.pg_constraint'::regclass THEN (SELECT conrelid FROM pg_catalog.pg_constraint WHERE oid = p.objid) END
  UNION ALL
  SELECT 'function ' || proname, pronamespace FROM pg_catalog.pg_proc WHERE p.classid = 'pg_catalog.pg_proc'::regclass AND oid = p.objid
  UNION ALL
  SELECT 'type ' || typname, typnamespace FROM pg_catalog.pg_type WHERE p.classid = 'pg_catalog.pg_type'::regclass AND oid = p.objid
  UNION ALL
  SELECT '*', NULL WHERE p.classid NOT IN ('pg_catalog.pg_class'::regclass, 'pg_catalog.pg_rewrite'::regclass, 'pg_catalog.pg_attrdef'::regclass,
    'pg_catalog.pg_trigger'::regclass, 'pg_catalog.pg_policy'::regclass, 'pg_catalog.pg_constraint'::regclass, 'pg_catalog.pg_proc'::regclass, 'pg_catalog.pg_type'::regclass)
    AND NOT COALESCE((pg_catalog.pg_identify_object(p.classid, p.objid, 0)).schema ~ '^pg_(toast_)?temp', false)) w(what, schema)
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = w.schema WHERE n.oid IS NULL OR n.nspname !~ '^pg_(toast_)?temp_' ORDER BY 1`), readPassing},
}

func readPassing(c *Catalog, r *row) {
	what := r.text()
	if kind, _, ok := strings.Cut(what, " "); what != touchesAll && !(ok && slices.Contains([]string{"relation", "function", "type"}, kind)) && r.err == nil {
		r.err = errors.New("a name of unknown form")
	}
	c.passing = append(c.passing, what)
}

// unasked notes a function that the server runs without being told to wherever values of
// two types are converted or compared.
func (c *Catalog) unasked(function uint32, types ...uint32) {
	own := false
	for _, oid := range types {
		if oid >= firstUserOID {
			own = true
			if !slices.Contains(c.converts[oid], function) {
				c.converts[oid] = append(c.converts[oid], function)
			}
		}
	}
	if !own && !slices.Contains(c.converts[anyType], function) {
		c.converts[anyType] = append(c.converts[anyType], function)
	}
}

func readRights(c *Catalog, r *row) {
	role := r.text()
	held := rights{superuser: r.flag(), schemas: map[string]bool{}}
	for _, schema := range r.list() {
		held.schemas[schema] = true
	}
	c.rights[role] = held
}

// called are users' functions that objects depend on: by name, or by an operator.
const called = `
SELECT classid, objid, refobjid FROM pg_catalog.pg_depend WHERE refclassid = 'pg_catalog.pg_proc'::regclass AND refobjid >= 16384
UNION
SELECT d.classid, d.objid, o.oprcode::oid FROM pg_catalog.pg_depend d
JOIN pg_catalog.pg_operator o ON d.refclassid = 'pg_catalog.pg_operator'::regclass AND o.oid = d.refobjid WHERE o.oprcode::oid >= 16384`

// languages are what functions are written in, under the names that the server gives
// them, whatever they were renamed to, or what else is called so now.
const languages = `
SELECT a.oid, CASE WHEN a.oid = 12 THEN 'internal' WHEN a.oid = 13 THEN 'c' WHEN a.oid = 14 THEN 'sql'
                   WHEN h.prosrc = 'plpgsql_call_handler' AND h.probin = '$libdir/plpgsql' THEN 'plpgsql'
                   WHEN a.lanname IN ('internal', 'c', 'sql', 'plpgsql') THEN 'other'
                   ELSE a.lanname::text END
FROM pg_catalog.pg_language a LEFT JOIN pg_catalog.pg_proc h ON h.oid = a.lanplcallfoid`

func readType(c *Catalog, r *row) {
	t := &Type{
		OID: r.oid(), Schema: r.text(), Name: r.text(), Kind: r.char(), Category: r.char(),
		Elem: r.oid(), Base: r.oid(), Relation: r.oid(), Length: int16(r.number()), Subtype: r.oid(),
	}
	c.Types[t.OID] = t
}

func readRelation(c *Catalog, r *row) {
	rel := &Relation{OID: r.oid(), Schema: r.text(), Name: r.text(), Kind: r.char(), Owner: r.text(), Definition: r.text(), Wrapper: r.text(), Of: r.oid()}
	c.Relations[rel.OID] = rel
}

func readColumn(c *Catalog, r *row) {
	relation, number := r.oid(), r.number()
	column := Column{Name: r.text(), Type: r.oid(), Dropped: r.flag(), NotNull: r.flag(), Generated: r.text()}
	rel := c.Relations[relation]
	if rel == nil {
		return
	}
	if int(number) != len(rel.Columns)+1 {
		r.err = errors.New("columns out of order")
		return
	}
	rel.Columns = append(rel.Columns, column)
}

func readForeignKey(c *Catalog, r *row) {
	relation, columns, table, references, cascades := r.oid(), r.numbers(), r.oid(), r.numbers(), r.flag()
	if len(columns) != len(references) {
		r.err = errors.New("foreign key of unequal sides")
		return
	}
	if rel := c.Relations[relation]; rel != nil {
		rel.ForeignKeys = append(rel.ForeignKeys, ForeignKey{Columns: columns, Table: table, References: references, Cascades: cascades})
	}
}

func readFunction(c *Catalog, r *row) {
	f := &Function{
		OID: r.oid(), Schema: r.text(), Name: r.text(), Args: r.oids(" "), Defaults: int(r.number()), Variadic: r.flag(),
		Kind: r.char(), Volatility: r.char(), SecurityDefiner: r.flag(), ReturnsSet: r.flag(), Returns: r.oid(),
		Language: r.text(), Source: r.text(), Definition: r.text(), DefaultArgs: r.text(),
	}
	f.ArgNames = r.list()
	for _, mode := range r.list() {
		if len(mode) != 1 {
			r.err = errors.New("argument mode of unknown form")
			return
		}
		f.ArgModes = append(f.ArgModes, mode[0])
	}
	f.AllArgs = r.oids(",")
	f.Config = r.list()
	f.Owner = r.text()
	f.Library, f.Symbol = library(r.text()), ""
	if f.Language == "c" {
		f.Source, f.Symbol = "", f.Source
	}
	c.Functions[f.OID] = f
}

func readDependency(c *Catalog, r *row) {
	kind, object, function := r.char(), r.oid(), r.oid()
	switch kind {
	case 'd':
		if t := c.Types[object]; t != nil {
			t.Checks = append(t.Checks, function)
		}
		return
	case 't':
		if t := c.Types[object]; t != nil && t.Kind == 'd' {
			t.Defaults = append(t.Defaults, function)
		}
		return
	}
	rel := c.Relations[object]
	switch {
	case rel == nil:
	case kind == 'k':
		rel.KeyCalls = append(rel.KeyCalls, function)
	case kind == 'v':
		rel.Defaults = append(rel.Defaults, Default{Function: function, Column: int16(r.number())})
	case kind == 'p':
		rel.ReadCalls = append(rel.ReadCalls, function)
		fallthrough
	default:
		rel.WriteCalls = append(rel.WriteCalls, function)
	}
}

// index builds the lookups by name.
func (c *Catalog) index() {
	c.relations = make(map[name]*Relation, len(c.Relations))
	c.functionsNamed = make(map[string][]*Function, len(c.Functions))
	c.types = make(map[name]*Type, len(c.Types))
	c.children = map[uint32][]*Relation{}
	c.cascades = map[uint32][]*Relation{}
	c.tempNames = map[string]bool{}
	c.shapes = map[bodyKey]*shape{}
	c.bodies = map[bodyKey]*body{}
	c.conversions = map[bodyKey]*body{}
	for oid, all := range c.converts {
		all = slices.DeleteFunc(all, func(fn uint32) bool { // only a superuser can make these
			f := c.Functions[fn]
			return f != nil && (f.Language == "c" || f.Language == "internal")
		})
		if c.converts[oid] = all; len(all) == 0 {
			delete(c.converts, oid)
		}
	}
	for _, r := range c.Relations {
		c.ordered = append(c.ordered, r)
	}
	slices.SortFunc(c.ordered, func(a, b *Relation) int { return cmp.Compare(a.OID, b.OID) })
	for _, r := range c.ordered {
		c.relations[name{r.Schema, r.Name}] = r
		if temporary(r.Schema) {
			c.tempNames[r.Name] = true
		}
		for _, parent := range r.Parents {
			c.children[parent] = append(c.children[parent], r)
		}
		if len(r.ForeignKeys) > 0 {
			c.referring = append(c.referring, r)
		}
		for _, key := range r.ForeignKeys {
			if key.Cascades {
				c.cascades[key.Table] = append(c.cascades[key.Table], r)
			}
		}
	}
	for _, t := range c.Types {
		if len(t.Checks) > 0 {
			c.checked = append(c.checked, t)
		}
	}
	slices.SortFunc(c.checked, func(a, b *Type) int { return cmp.Compare(a.OID, b.OID) })
	for _, f := range c.Functions {
		c.functionsNamed[f.Name] = append(c.functionsNamed[f.Name], f)
	}
	for _, all := range c.functionsNamed {
		slices.SortFunc(all, func(a, b *Function) int { return cmp.Compare(a.OID, b.OID) })
	}
	for _, t := range c.Types {
		c.types[name{t.Schema, t.Name}] = t
	}
}

// row reads one row's columns in turn. The first error sticks.
type row struct {
	columns []*string
	next    int
	err     error
}

func (r *row) text() string {
	if r.next >= len(r.columns) {
		if r.err == nil {
			r.err = errors.New("a row has too few columns")
		}
		return ""
	}
	value := r.columns[r.next]
	r.next++
	if value == nil {
		return ""
	}
	return *value
}

func (r *row) char() byte {
	s := r.text()
	if len(s) != 1 {
		return 0
	}
	return s[0]
}

func (r *row) flag() bool { return r.text() == "t" }

func (r *row) number() int64 {
	n, err := strconv.ParseInt(r.text(), 10, 64)
	if err != nil && r.err == nil {
		r.err = errors.New("a number of unknown form")
	}
	return n
}

func (r *row) oid() uint32 {
	n, err := strconv.ParseUint(r.text(), 10, 32)
	if err != nil && r.err == nil {
		r.err = errors.New("an object number of unknown form")
	}
	return uint32(n)
}

// oids reads an oidvector ("1 2") or an array of oid ("{1,2}").
func (r *row) oids(separator string) []uint32 {
	s := strings.Trim(r.text(), "{}")
	if s == "" {
		return nil
	}
	var all []uint32
	for word := range strings.SplitSeq(s, separator) {
		n, err := strconv.ParseUint(word, 10, 32)
		if err != nil && r.err == nil {
			r.err = errors.New("a list of object numbers of unknown form")
		}
		all = append(all, uint32(n))
	}
	return all
}

func (r *row) numbers() []int16 {
	var all []int16
	for _, n := range r.oids(",") {
		if n > 1<<15-1 {
			r.err = errors.New("a column number of unknown form")
		}
		all = append(all, int16(n))
	}
	return all
}

// list reads an array of text in the server's output form.
func (r *row) list() []string {
	s := r.text()
	if s == "" {
		return nil
	}
	all, ok := parseArray(s)
	if !ok && r.err == nil {
		r.err = errors.New("an array of unknown form")
	}
	return all
}

func parseArray(s string) ([]string, bool) {
	if len(s) < 2 || s[0] != '{' || s[len(s)-1] != '}' {
		return nil, false
	}
	s = s[1 : len(s)-1]
	var all []string
	for s != "" {
		var b strings.Builder
		i := 0
		if s[0] == '"' {
			for i = 1; i < len(s) && s[i] != '"'; i++ {
				if s[i] == '\\' {
					i++
				}
				if i < len(s) {
					b.WriteByte(s[i])
				}
			}
			if i >= len(s) {
				return nil, false
			}
			i++
		} else {
			for i < len(s) && s[i] != ',' {
				b.WriteByte(s[i])
				i++
			}
		}
		all = append(all, b.String())
		if i == len(s) {
			break
		}
		if s[i] != ',' {
			return nil, false
		}
		s = s[i+1:]
	}
	return all, true
}
