package postgres

import (
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v6"

	"postern/internal/sql"
)

// copyOptions reads COPY's options as the server does, or says what is wrong.
// Even then it returns a Copy.
func copyOptions(x *pg_query.CopyStmt) (*sql.Copy, string) {
	const wrong = "The options of COPY can't be read."
	c := &sql.Copy{}
	seen := map[string]bool{}
	var delim, null, quote, escape *string
	for _, n := range x.Options {
		d := n.GetDefElem()
		name := d.GetDefname()
		if name == "" || seen[name] {
			return c, wrong
		}
		seen[name] = true
		text, isText := defText(d.Arg)
		switch name {
		case "format":
			switch {
			case !isText:
				return c, wrong
			case text == "text":
			case text == "csv":
				c.CSV = true
			case text == "binary":
				c.Binary = true
			default:
				return c, wrong
			}
		case "delimiter":
			if !isText {
				return c, wrong
			}
			delim = &text
		case "null":
			if !isText {
				return c, wrong
			}
			null = &text
		case "quote":
			if !isText {
				return c, wrong
			}
			quote = &text
		case "escape":
			if !isText {
				return c, wrong
			}
			escape = &text
		case "encoding":
			if !isText {
				return c, wrong
			}
			c.Encoding = text
		case "header":
			if strings.EqualFold(text, "match") {
				c.Header = true
			} else {
				c.Header = optionTrue(d.Arg)
			}
		case "freeze", "force_quote", "force_not_null", "force_null", "default", "on_error", "log_verbosity", "reject_limit":
			// These don't change how a row is read back.
		case "convert_selectively":
			return c, wrong
		default:
			return c, wrong
		}
	}
	if c.Binary {
		if delim != nil || null != nil || quote != nil || escape != nil || c.Header && !x.IsFrom {
			return c, wrong
		}
		return c, ""
	}
	c.Delim, c.Null = '\t', `\N`
	if c.CSV {
		c.Delim, c.Null, c.Quote = ',', "", '"'
		if quote != nil {
			if len(*quote) != 1 {
				return c, wrong
			}
			c.Quote = (*quote)[0]
		}
		c.Escape = c.Quote
		if escape != nil {
			if len(*escape) != 1 {
				return c, wrong
			}
			c.Escape = (*escape)[0]
		}
	} else if quote != nil || escape != nil {
		return c, wrong
	}
	if delim != nil {
		if len(*delim) != 1 || strings.ContainsAny(*delim, "\r\n") || *delim == "\\" && !c.CSV {
			return c, wrong
		}
		c.Delim = (*delim)[0]
	}
	if !c.CSV && strings.IndexByte(`\.abcdefghijklmnopqrstuvwxyz0123456789`, c.Delim) >= 0 {
		return c, wrong
	}
	if null != nil {
		c.Null = *null
	}
	if strings.ContainsAny(c.Null, "\r\n") || strings.IndexByte(c.Null, c.Delim) >= 0 ||
		c.CSV && (c.Quote == c.Delim || strings.IndexByte(c.Null, c.Quote) >= 0) {
		return c, wrong
	}
	return c, ""
}

// defText is the text of an option's argument.
func defText(n *pg_query.Node) (string, bool) {
	switch x := n.GetNode().(type) {
	case *pg_query.Node_String_:
		return x.String_.Sval, true
	case *pg_query.Node_Integer:
		return itoaSigned(int(x.Integer.Ival)), true
	case *pg_query.Node_Float:
		return x.Float.Fval, true
	case *pg_query.Node_Boolean:
		if x.Boolean.Boolval {
			return "true", true
		}
		return "false", true
	case *pg_query.Node_TypeName:
		return nameOf(x.TypeName.Names), len(x.TypeName.Names) == 1
	}
	return "", false
}
