package postgres

import (
	"sync"

	"postern/internal/sql"
)

// Bounds of what is analysed and kept.
const (
	maxText       = 1 << 20 // longer texts are unknown
	maxCachedText = 64 << 10
)

// Analyzer analyses texts, and remembers what it said of them. It is safe for
// concurrent use.
type Analyzer struct {
	max int // entries of one generation

	mu    sync.Mutex
	young map[key]*sql.Analysis
	old   map[key]*sql.Analysis
}

// NewAnalyzer returns an Analyzer that remembers up to maxEntries analyses.
// With maxEntries < 2 it remembers none.
func NewAnalyzer(maxEntries int) *Analyzer {
	return &Analyzer{max: maxEntries / 2, young: map[key]*sql.Analysis{}}
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
		result, _ := analyze(text, env)
		return result
	}
	k := env.key(text)
	if found := a.lookup(k); found != nil {
		return found
	}
	result, reusable := analyze(text, env)
	if reusable {
		a.keep(k, result)
	}
	return result
}

func (a *Analyzer) lookup(k key) *sql.Analysis {
	a.mu.Lock()
	defer a.mu.Unlock()
	if found := a.young[k]; found != nil {
		return found
	}
	found := a.old[k]
	if found != nil {
		a.insert(k, found)
	}
	return found
}

func (a *Analyzer) keep(k key, result *sql.Analysis) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.insert(k, result)
}

// insert lets the older half go when the younger is full. The caller holds mu.
func (a *Analyzer) insert(k key, result *sql.Analysis) {
	if len(a.young) >= a.max {
		a.old, a.young = a.young, make(map[key]*sql.Analysis, a.max)
	}
	a.young[k] = result
}
