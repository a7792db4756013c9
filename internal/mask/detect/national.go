package detect

const (
	maxIDDigits = 15 // the longest id of digits alone
	maxWordID   = 20 // the longest id with letters
)

// numericID is an id of digits alone.
type numericID struct {
	entity Entity
	digits int
	valid  func(d []byte) bool
	// shapes are the ways in which the digits may be grouped, beside none at all.
	shapes []uint32
	seps   string  // between groups
	words  context // words that belong to it
	// sure says that number and grouping alone tell the id; otherwise a word
	// must stand beside it, or the id be asked for by name.
	sure bool
}

// wordID is an id with letters.
type wordID struct {
	entity  Entity
	pattern string // A letter, 9 digit, X either, anything else itself
	valid   func(b []byte) bool
	words   context
	sure    bool
}

func isPatternLetter(c byte) bool { return c == 'A' }

var numericIDs []numericID

var wordIDs []wordID

func (p *pass) numericNational(d *digits, k int) (last int, e Entity) { return 0, None }

func (p *pass) wordedNational(i int) (end int, e Entity) { return 0, None }

func (p *pass) bitcoin(i, j int) int { return 0 }
