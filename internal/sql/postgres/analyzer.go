package postgres

import (
	"hash/maphash"
	"sync"
	"unicode/utf8"

	"postern/internal/sql"
)

// Bounds of what is analysed and kept.
const (
	maxText       = 1 << 20 // longer texts are unknown
	maxCachedText = 64 << 10
	// maxVariants bounds the analyses that are kept of one outline.
	maxVariants = 8
	// lately is how many analyses of texts word for word are kept before their
	// outlines are looked at, and maxLately how long such a text may be.
	lately    = 512
	maxLately = 4 << 10
)

// Analyzer analyses texts, and remembers what it said of them, and of those that
// differ from them in nothing that counts. It is safe for concurrent use.
type Analyzer struct {
	max int // entries of one generation

	outlines sync.Pool // of *outlined
	seed     maphash.Seed

	mu     sync.Mutex
	young  map[key][]variant
	old    map[key][]variant
	lately [lately]recent
}

// recent is an analysis that was asked for under exactly this key.
type recent struct {
	key      key
	analysis *sql.Analysis
}

// variant is an analysis of a text, or of all texts of an outline whose literals
// keep to terms.
type variant struct {
	*sql.Analysis
	terms terms
}

// NewAnalyzer returns an Analyzer that remembers up to maxEntries analyses.
// With maxEntries < 2 it remembers none.
func NewAnalyzer(maxEntries int) *Analyzer {
	return &Analyzer{max: maxEntries / 2, seed: maphash.MakeSeed(), young: map[key][]variant{}}
}

// Analyze says what text would do under env. The result is shared between
// callers: who wants to change it copies it. It never fails: what can't be
// understood is one statement with the verb unknown. Text that holds no
// statement has none.
func (a *Analyzer) Analyze(text string, env *Env) *sql.Analysis {
	if env == nil {
		env = &Env{}
	}
	if a.max < 1 || len(text) > maxCachedText {
		result, _, _ := analyze(text, env, nil)
		return result
	}
	exact := env.key(text)
	if len(text) > maxLately {
		result, _ := a.analyze(exact, text, env)
		return result
	}
	slot := &a.lately[maphash.String(a.seed, text)%lately]
	a.mu.Lock()
	found := *slot
	a.mu.Unlock()
	if found.analysis != nil && found.key == exact {
		return found.analysis
	}
	result, reusable := a.analyze(exact, text, env)
	if reusable {
		a.mu.Lock()
		*slot = recent{exact, result}
		a.mu.Unlock()
	}
	return result
}

// analyze is Analyze of a text that wasn't asked for lately; reusable says that
// the same text means the same under the same key.
func (a *Analyzer) analyze(exact key, text string, env *Env) (result *sql.Analysis, reusable bool) {
	o := a.outline(text, env)
	defer a.outlines.Put(o)
	k, all := exact, o.all
	if len(all) > 0 {
		k.text, k.outlined = string(o.text), true
		if found := a.lookup(k, text, all); found != nil {
			return found, true
		}
	}
	if found := a.lookup(exact, "", nil); found != nil {
		return found, true
	}
	result, reusable, asked := analyze(text, env, all)
	if !reusable {
		return result, false
	}
	if asked != nil {
		if t, ok := asked.terms(); ok {
			a.keep(k, variant{result, t})
			return result, true
		}
	}
	a.keep(exact, variant{Analysis: result})
	return result, true
}

// outlined is a text's outline and its literals.
type outlined struct {
	text []byte
	all  []literal
}

// outline returns a text's outline, without any literal if it can be recognised
// as itself only. It goes back to a.outlines.
func (a *Analyzer) outline(text string, env *Env) *outlined {
	o, ok := a.outlines.Get().(*outlined)
	if !ok {
		o = &outlined{}
	}
	o.text, o.all = o.text[:0], o.all[:0]
	if len(text) > shallow {
		return o // whether it nests too deeply is to be looked at
	}
	o.text, o.all, ok = outline(o.text, o.all, text)
	if !ok || !ascii(text) && (!utf8Encoding(env.Encoding) || !utf8.ValidString(text)) {
		o.all = o.all[:0]
	}
	return o
}

// lookup finds what is kept of a text, or under its outline for one with these
// literals.
func (a *Analyzer) lookup(k key, text string, all []literal) *sql.Analysis {
	a.mu.Lock()
	defer a.mu.Unlock()
	found, ok := a.young[k]
	if !ok {
		if found, ok = a.old[k]; !ok {
			return nil
		}
		a.insert(k, found)
	}
	for i := range found {
		if found[i].terms.hold(text, all) {
			if !k.outlined {
				return found[i].Analysis
			}
			return found[i].of(text)
		}
	}
	return nil
}

// of is the analysis of another text of the same outline.
func (v *variant) of(text string) *sql.Analysis {
	st := v.Statements[0]
	st.Command.Text = text
	return &sql.Analysis{Statements: []sql.Statement{st}}
}

func (a *Analyzer) keep(k key, v variant) {
	a.mu.Lock()
	defer a.mu.Unlock()
	variants := a.young[k]
	if !k.outlined || len(variants) >= maxVariants {
		variants = nil
	}
	a.insert(k, append(variants[:len(variants):len(variants)], v))
}

// insert lets the older half go when the younger is full. The caller holds mu.
func (a *Analyzer) insert(k key, variants []variant) {
	if len(a.young) >= a.max {
		a.old, a.young = a.young, make(map[key][]variant, a.max)
	}
	a.young[k] = variants
}
