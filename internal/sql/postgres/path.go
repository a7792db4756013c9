package postgres

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// userSchema in a search path stands for the schema that is called like whoever
// names are looked up for.
const userSchema = "$user"

// maxName is how many bytes of a name the server looks at.
const maxName = 63

// ParseSearchPath reads a value of search_path as the server does, "$user" left as it
// is. It returns nil for what the server wouldn't take, and where how it takes it
// depends on more than the text: on the database's encoding.
func ParseSearchPath(value string) []string {
	if !utf8.ValidString(value) {
		return nil
	}
	path := []string{}
	rest := strings.TrimLeft(value, blanks)
	for rest != "" {
		var part string
		if rest[0] == '"' {
			end := closingQuote(rest)
			if end < 0 {
				return nil
			}
			part, rest = strings.ReplaceAll(rest[1:end], `""`, `"`), rest[end+1:]
		} else {
			end := strings.IndexAny(rest, blanks+",")
			if end < 0 {
				end = len(rest)
			}
			part, rest = rest[:end], rest[end:]
			if part == "" || strings.ContainsAny(part, "\"\v") || !ascii(part) {
				return nil
			}
			part = strings.ToLower(part)
		}
		if len(part) > maxName {
			if !ascii(part) {
				return nil
			}
			part = part[:maxName]
		}
		if part != "" {
			path = append(path, part)
		}
		rest = strings.TrimLeft(rest, blanks)
		if rest == "" {
			return path
		}
		if rest[0] != ',' {
			return nil
		}
		rest = strings.TrimLeft(rest[1:], blanks)
		if rest == "" {
			return nil
		}
	}
	return path
}

// blanks are what every version of the server skips between names.
const blanks = " \t\n\r\f"

// closingQuote is where the quoted name ends with which a text begins; -1: nowhere.
func closingQuote(text string) int {
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] != '"':
		case i+1 < len(text) && text[i+1] == '"':
			i++
		default:
			return i
		}
	}
	return -1
}

// setPath has names be searched by a setting of search_path, nil for one that isn't
// known, with the rights of r.as.
func (r *reader) setPath(setting []string) {
	r.listed, r.doubted, r.pathKnown = r.searchable(setting)
	r.path = nil
	if r.pathKnown {
		r.path = effectivePath(r.listed)
	}
}

// anyones reads on what may run with another role's rights: what changing rows sets
// off where a foreign key has the server change them for the table's owner.
func (r *reader) anyones() *reader {
	s := *r
	s.as = ""
	s.setPath(s.env.SearchPath)
	if r.caller != nil {
		s.caller = r.caller.anyones()
	}
	return &s
}

// searchable are the schemas of a setting that the server searches: it leaves out
// what isn't there, and what r.as has no right to use. Of the doubted ones the
// catalog doesn't tell whether it has.
func (r *reader) searchable(setting []string) (named, doubted []string, known bool) {
	if setting == nil || r.touched(touchesUsage, "") && !r.allTouched {
		return nil, nil, false
	}
	named = make([]string, 0, len(setting))
	for _, s := range setting {
		if s == userSchema {
			if s = r.as; s == "" {
				return nil, nil, false
			}
		}
		sure := true
		switch {
		case s == "pg_temp":
		case temporary(s):
			if s != r.env.TempSchema {
				return nil, nil, false // another session's, or its own
			}
			s = "pg_temp"
		case r.cat == nil:
		case !r.cat.schemas[s]:
			continue
		default:
			var may bool
			may, sure = r.cat.usage(r.as, s)
			sure = sure && (!r.env.Drifted || r.as != r.env.User || r.cat.open[s])
			if sure && !may {
				continue
			}
		}
		if slices.Contains(named, s) {
			continue
		}
		named = append(named, s)
		if !sure {
			doubted = append(doubted, s)
		}
	}
	return named, doubted, true
}

// effectivePath is the order in which relations are searched: pg_temp and
// pg_catalog come first where the path doesn't place them.
func effectivePath(path []string) []string {
	all := make([]string, 0, len(path)+2)
	if !slices.Contains(path, "pg_temp") {
		all = append(all, "pg_temp")
	}
	if !slices.Contains(path, "pg_catalog") {
		all = append(all, "pg_catalog")
	}
	return append(all, path...)
}

// usage says whether a role may use a schema, and so finds what is in it without
// naming it. sure is false where the catalog doesn't tell.
func (c *reach) usage(role, schema string) (may, sure bool) {
	if c.open[schema] {
		return true, true
	}
	held, known := c.rights[role]
	if !known || strings.HasPrefix(schema, "pg_toast") {
		return false, false
	}
	return held.superuser || held.schemas[schema], true
}

// Searched is the order in which the server looks for names, as far as env tells: nil
// where it doesn't. "pg_temp" in it stands for the session's own temporary schema.
func (e *Env) Searched() []string {
	return newReader(e, &run{}, e.Touched).path
}

// Usage is which schemas a role may use by a [Catalog].
type Usage struct {
	role, version string
	reach         reach
}

// Usage returns that of a role.
func (c *Catalog) Usage(role string) Usage {
	return Usage{role, c.Version, c.reach}
}

// Differs says whether the role may use other schemas by now, of those that there
// were before. The server looks again when a schema has changed, but not when a role
// has become a member of another: until something else makes it look, it searches
// what it did.
func (u *Usage) Differs(now *Catalog) bool {
	if u.version == now.Version {
		return false
	}
	for schema := range u.reach.schemas {
		if !now.schemas[schema] || temporary(schema) {
			continue
		}
		may, sure := now.usage(u.role, schema)
		if before, known := u.reach.usage(u.role, schema); may != before || sure != known {
			return true
		}
	}
	return false
}
