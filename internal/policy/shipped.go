package policy

import (
	"path"
	"slices"
	"strings"

	"postern"
)

// Shipped is a rule that comes with the gateway: `use: NAME`. It is a pure
// function over what a command does, never over its text.
type Shipped struct {
	Name string
	Doc  string // one sentence for docs and `--help`
	// Message is what the person is told when the rule has no message of its own.
	Message string
	// needs is the fact without which a protocol has nothing to do with the rule.
	needs string
	match func(*postern.Command) bool
}

// The facts that shipped rules look at.
const (
	factHasWhere        = "has_where" // stated by the languages that have tables
	factProgram         = "program"
	factFileAccess      = "file_access"
	factRecursiveDelete = "recursive_delete"
)

// ShippedRules lists the rules that come with the gateway, by name.
func ShippedRules() []Shipped {
	return []Shipped{
		{
			Name: "no-copy-program", needs: factProgram, match: runsProgram,
			Doc:     "No program is run on the server: COPY … PROGRAM.",
			Message: "It runs a program on the server. Use COPY … TO STDOUT or FROM STDIN, and run the program on your side.",
		},
		{
			Name: "no-ddl", needs: factHasWhere, match: changesStructure,
			Doc:     "No change of structure or rights: CREATE, ALTER, DROP, TRUNCATE, GRANT, REVOKE …, or writes to system catalogs.",
			Message: "It changes structure or rights. Changes of that kind go through a migration, or ask an administrator.",
		},
		{
			Name: "no-delete-without-where", needs: factHasWhere, match: changesEveryRow,
			Doc:     "No DELETE or UPDATE without a WHERE; one that is trivially true is none.",
			Message: "It changes every row. Add a WHERE clause that picks the rows you mean; one that is always true doesn't count.",
		},
		{
			Name: "no-drop-table", needs: factHasWhere, match: dropsTables,
			Doc:     "No table is dropped, alone or with its schema, database, owner or extension.",
			Message: "It drops tables. Ask an administrator if they really have to go.",
		},
		{
			Name: "no-file-read", needs: factFileAccess, match: touchesFiles,
			Doc:     "No files of the server: COPY from or to a file, pg_read_file, large objects' import and export, LOAD DATA.",
			Message: "It touches files of the server. Send data through the connection instead: COPY … FROM STDIN or TO STDOUT.",
		},
		{
			Name: "no-recursive-delete", needs: factRecursiveDelete, match: deletesRecursively,
			Doc:     "No folder is deleted with all that is in it: rm -r, find -delete.",
			Message: "It deletes a folder with everything in it. Name the files to delete.",
		},
		{
			Name: "no-secrets-read", match: readsSecrets,
			Doc:     "No credentials are read: password catalogs, key files, Kubernetes secrets.",
			Message: "It reads stored credentials. Nobody needs to see those; ask an administrator for what you want to reach with them.",
		},
		{
			Name: "no-truncate", needs: factHasWhere, match: truncates,
			Doc:     "No table is emptied with TRUNCATE.",
			Message: "It empties whole tables. Use DELETE with a WHERE clause.",
		},
		{
			Name: "read-only", match: writes,
			Doc:     "Nothing is changed: data, structure, rights, locks or the server itself.",
			Message: "Only reading is allowed here.",
		},
	}
}

func shippedNames() []string {
	var names []string
	for _, rule := range ShippedRules() {
		names = append(names, rule.Name)
	}
	return names
}

func shipped(name string) (Shipped, bool) {
	all := ShippedRules()
	i := slices.IndexFunc(all, func(s Shipped) bool { return s.Name == name })
	if i < 0 {
		return Shipped{}, false
	}
	return all[i], true
}

// appliesTo says whether the rule makes sense for a protocol.
func (s Shipped) appliesTo(protocol ProtocolType) bool {
	return s.needs == "" || slices.ContainsFunc(protocol.Attrs, func(a postern.AttrType) bool { return a.Name == s.needs })
}

// unknown says whether a command wasn't understood, or says things about
// itself that don't fit. Every restriction denies such a command.
func unknown(c *postern.Command) bool {
	return c.Access == postern.Unknown || c.Access > postern.Admin || c.Problem != "" || len(c.Verbs) == 0 ||
		sameWord(c.Verb, "") || sameWord(c.Verb, postern.VerbUnknown) || hasVerb(c, postern.VerbUnknown) || hasVerb(c, "")
}

// sameWord compares words of a protocol in ASCII's letters alone: no letter of
// another alphabet is equal to one of them.
func sameWord(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}

// hasVerb says whether one of the command's effects is one of the verbs.
func hasVerb(c *postern.Command, verbs ...string) bool {
	for _, verb := range verbs {
		if sameWord(c.Verb, verb) || slices.ContainsFunc(c.Verbs, func(v string) bool { return sameWord(v, verb) }) {
			return true
		}
	}
	return false
}

// stated says whether the command states a yes-or-no fact as yes.
func stated(c *postern.Command, fact string) bool {
	a := c.Attr(fact)
	return a.Kind == postern.AttrBool && a.Bool
}

func touches(c *postern.Command, kinds ...string) bool {
	return slices.ContainsFunc(c.Objects, func(o postern.Object) bool { return slices.Contains(kinds, o.Kind) })
}

func runsProgram(c *postern.Command) bool {
	return unknown(c) || stated(c, factProgram) || touches(c, "program")
}

func touchesFiles(c *postern.Command) bool {
	if unknown(c) || stated(c, factFileAccess) || stated(c, factProgram) || touches(c, "file", "large_object", "program") {
		return true
	}
	return slices.ContainsFunc(c.Objects, func(o postern.Object) bool {
		_, table, ok := lastParts(o)
		switch strings.ToLower(table) {
		case "pg_hba_file_rules", "pg_ident_file_mappings", "pg_file_settings":
			return tableLike(o.Kind) // views over the server's files
		}
		return tableLike(o.Kind) && !ok
	})
}

func truncates(c *postern.Command) bool { return unknown(c) || hasVerb(c, "truncate") }

func deletesRecursively(c *postern.Command) bool { return unknown(c) || stated(c, factRecursiveDelete) }

func changesEveryRow(c *postern.Command) bool {
	return unknown(c) || hasVerb(c, "delete", "update", "merge") && !stated(c, factHasWhere)
}

func changesStructure(c *postern.Command) bool {
	if unknown(c) || hasVerb(c, "create", "alter", "drop", "rename", "truncate", "grant", "revoke", "comment", "security",
		"import", "reassign", "reindex", "cluster", "optimize", "repair", "install", "uninstall") {
		return true
	}
	return slices.ContainsFunc(c.Objects, func(o postern.Object) bool { return o.Write && systemCatalog(o) })
}

// unproven is the schema of a name of which an analyser can't prove the schema.
const unproven = "?"

// systemCatalog says whether the object is one in which the server itself keeps
// structure and rights.
func systemCatalog(o postern.Object) bool {
	if !tableLike(o.Kind) {
		return false
	}
	schema, table, ok := lastParts(o)
	if !ok {
		return true
	}
	switch strings.ToLower(schema) {
	case "pg_catalog", "information_schema", "mysql", "performance_schema", "sys", "pg_toast":
		return true
	case "", unproven:
		return strings.HasPrefix(strings.ToLower(table), "pg_")
	}
	return false
}

// dropsTables: what is dropped counts as taking tables with it unless it is of
// a kind that can't.
func dropsTables(c *postern.Command) bool {
	if unknown(c) {
		return true
	}
	if !hasVerb(c, "drop") {
		return false
	}
	dropped := 0
	for _, o := range c.Objects {
		if o.Kind == "column" {
			continue // named besides what is dropped
		}
		dropped++
		if !holdsNoTable(o.Kind) {
			return true
		}
	}
	return dropped == 0
}

// holdsNoTable are the kinds of which a drop, even with CASCADE, takes no table along.
func holdsNoTable(kind string) bool {
	switch strings.ReplaceAll(kind, " ", "_") {
	case "view", "materialized_view", "index", "function", "procedure", "routine", "aggregate", "sequence", "trigger",
		"rule", "policy", "constraint", "publication", "subscription", "collation", "conversion", "cast", "operator",
		"operator_class", "operator_family", "statistics", "text_search_configuration", "text_search_dictionary",
		"text_search_parser", "text_search_template", "event_trigger", "transform", "event", "domain", "language", "user_mapping",
		"user", "tablespace", "opclass", "opfamily", "tsconfiguration", "tsdictionary", "tsparser", "tstemplate", "prepared_statement", "cursor":
		return true
	}
	return false
}

func writes(c *postern.Command) bool {
	if unknown(c) || c.Access != postern.Control && c.Access != postern.Read {
		return true
	}
	return slices.ContainsFunc(c.Objects, func(o postern.Object) bool { return o.Write })
}

func readsSecrets(c *postern.Command) bool {
	return unknown(c) || slices.ContainsFunc(c.Objects, func(o postern.Object) bool {
		return holdsSecrets(o) && (o.Kind != kindBase || !onlySystemViews(c))
	})
}

// onlySystemViews says whether everything that a command may read tables through
// is the server's own: its views over password catalogs (pg_roles) leave the
// passwords out, and those that don't (pg_shadow) hold secrets by their names.
func onlySystemViews(c *postern.Command) bool {
	return !slices.ContainsFunc(c.Objects, func(o postern.Object) bool {
		if o.Kind != "view" && o.Kind != "function" {
			return false
		}
		schema, _, ok := lastParts(o)
		return !ok || schema != "pg_catalog" && schema != "information_schema"
	})
}

// holdsSecrets says whether the object keeps credentials. Names are compared
// without regard to case, and whatever schema they are in: better one harmless
// view too many than a password too few.
func holdsSecrets(o postern.Object) bool {
	switch o.Kind {
	case "secret", "secrets":
		return true
	case "file", "path":
		return secretFile(o.Name)
	}
	if !tableLike(o.Kind) {
		return false
	}
	schema, table, ok := lastParts(o)
	if !ok {
		return true
	}
	schema, table = strings.ToLower(schema), strings.ToLower(table)
	switch table {
	case "pg_authid", "pg_shadow", "pg_user_mapping", "pg_user_mappings", "pg_subscription", "pg_hba_file_rules",
		"user_mapping_options", "_pg_user_mappings", "pg_dist_authinfo",
		"pg_statistic", "pg_stats": // samples of every table's values, passwords among them
		return true
	case "user", "global_priv", "db", "servers", "proxies_priv", "slave_master_info", "default_roles", "password_history":
		return schema == "mysql"
	}
	return false
}

// secretFile says whether a file, by its name, keeps credentials.
func secretFile(name string) bool {
	name = path.Clean("/" + strings.ToLower(strings.ReplaceAll(name, `\`, "/")))
	base := path.Base(name)
	switch base {
	case "shadow", "shadow-", "gshadow", "gshadow-", "passwd-", "opasswd", "sudoers", "environ", ".pgpass", ".my.cnf", ".mylogin.cnf",
		".netrc", ".git-credentials", ".npmrc", ".pypirc", ".vault-token", ".dockercfg", ".htpasswd", "credentials",
		"authorized_keys", "kubeconfig", "admin.conf", "krb5.keytab", "service-account.json", "terraform.tfstate",
		".bash_history", ".psql_history", ".mysql_history", ".rediscli_history", ".zsh_history", "id_rsa", "id_dsa",
		"id_ecdsa", "id_ed25519", "pg_hba.conf", "pg_service.conf", ".pg_service.conf", "wp-config.php":
		return true
	}
	if base == ".env" || strings.HasPrefix(base, ".env.") {
		return true
	}
	switch path.Ext(base) {
	case ".pem", ".key", ".p12", ".pfx", ".jks", ".keystore", ".kdbx", ".keytab", ".ppk", ".asc", ".gpg", ".tfvars":
		return true
	}
	for _, folder := range []string{
		"/.ssh/", "/.aws/", "/.gnupg/", "/.kube/", "/.docker/", "/.azure/", "/.config/gcloud/",
		"/secrets/", "/run/secrets/", "/etc/ssl/private/", "/etc/sudoers.d/", "/.config/gh/",
	} {
		if strings.Contains(name+"/", folder) {
			return true
		}
	}
	return false
}
