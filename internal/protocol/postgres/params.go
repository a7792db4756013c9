package postgres

import (
	"context"
	"maps"
	"slices"
	"strings"

	"postern"
	"postern/internal/gate"
	analysis "postern/internal/sql/postgres"
)

// A startup message can do what SET does, so what it sets is decided over like
// the SET that it stands for. What any driver says of itself is left out: it
// changes how values look, not what a command does.
func descriptive(setting string) bool {
	switch strings.ToLower(setting) {
	case "application_name", "client_encoding", "client_min_messages", "datestyle", "extra_float_digits", "geqo", "intervalstyle", "timezone":
		return true
	}
	return false
}

// decideSettings has the gate decide over the settings of a startup message.
// It returns nil when they may be forwarded.
func (p *Protocol) decideSettings(ctx context.Context, s *gate.Session, settings map[string]string) error {
	cmds := p.settingCommands(s, settings)
	if len(cmds) == 0 {
		return nil
	}
	d, err := s.Decide(ctx, cmds...)
	if err != nil {
		return err
	}
	if d.Verdict == postern.Allow {
		return nil
	}
	return loginRefusal(&gate.DeniedError{Rule: d.Rule, Reason: d.Reason, Session: s.ID()})
}

// settingCommands are the commands that the settings stand for.
func (p *Protocol) settingCommands(s *gate.Session, settings map[string]string) []postern.Command {
	env := &analysis.Env{StandardConformingStrings: true, Database: s.Database()}
	var cmds []postern.Command
	set := func(name, value string) {
		if descriptive(name) {
			return
		}
		for _, st := range p.relay.analyzer.Analyze("SET "+name+" TO '"+strings.ReplaceAll(value, "'", "''")+"'", env).Statements {
			cmds = append(cmds, st.Command)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		if name != "options" {
			set(name, settings[name])
			continue
		}
		given, ok := parseOptions(settings[name])
		if !ok {
			cmds = append(cmds, postern.Command{
				Protocol: Name, Verb: postern.VerbUnknown, Verbs: []string{postern.VerbUnknown},
				Text:    settings[name],
				Problem: "The startup parameter options holds more than settings: give them as -c name=value.",
			})
			continue
		}
		for _, o := range given {
			set(o[0], o[1])
		}
	}
	return cmds
}

// parseOptions reads the startup parameter options as the server does: words
// apart by white space, with the backslash as escape, that are settings. It is
// not ok when one is anything else.
func parseOptions(options string) (settings [][2]string, ok bool) {
	words := splitOptions(options)
	for i := 0; i < len(words); i++ {
		word := words[i]
		var setting string
		switch {
		case strings.HasPrefix(word, "--"):
			setting = word[2:]
		case word == "-c" && i+1 < len(words):
			i++
			setting = words[i]
		case strings.HasPrefix(word, "-c"):
			setting = word[2:]
		default:
			return nil, false
		}
		name, value, found := strings.Cut(setting, "=")
		name = strings.ReplaceAll(name, "-", "_")
		if !found || !validParamName(name) {
			return nil, false
		}
		settings = append(settings, [2]string{name, value})
	}
	return settings, true
}

// splitOptions is the server's pg_split_opts.
func splitOptions(options string) []string {
	var words []string
	for i := 0; i < len(options); {
		if isSpace(options[i]) {
			i++
			continue
		}
		var word []byte
		for ; i < len(options) && !isSpace(options[i]); i++ {
			if options[i] == '\\' {
				if i++; i == len(options) {
					break
				}
			}
			word = append(word, options[i])
		}
		words = append(words, string(word))
	}
	return words
}

func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }
