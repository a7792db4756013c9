// Package classify says what a column holds, by its name and a sample of its
// values. It is pure, keeps no value, and names none.
package classify

import (
	"strings"

	"postern/internal/mask/detect"
)

// Label names what a column holds, as classifications spell it.
type Label string

// The labels.
const (
	None       Label = ""
	Email      Label = "pii.email"
	CreditCard Label = "pii.credit_card"
	IBAN       Label = "pii.iban"
	SSN        Label = "pii.ssn"
	Phone      Label = "pii.phone"
	IP         Label = "pii.ip"
	Address    Label = "pii.address"
	Person     Label = "pii.name"
	NationalID Label = "pii.national_id"
	Secret     Label = "secret"
)

// Finding is what a column was found to hold, and why. It holds no value.
type Finding struct {
	Label  Label
	Values int // how many of the sample said anything
	Hits   int // how many of them look like it
	// Checked says that a checksum, or a form that nothing else has, was asked.
	Checked bool
	Named   bool // the column's name says so, too
}

// Share is how many of the values look like it.
func (f Finding) Share() float64 {
	if f.Values == 0 {
		return 0
	}
	return float64(f.Hits) / float64(f.Values)
}

// Classifier classifies columns. It is safe for concurrent use.
type Classifier struct{ scanner *detect.Scanner }

// New makes a classifier.
func New() *Classifier {
	scanner, _ := detect.New("email", "credit_card", "iban", "ssn", "phone", "ip", "secret", detect.NationalIDs)
	return &Classifier{scanner: scanner}
}

// Shares of values that have to look like something. A checksum is passed by
// one arbitrary number in ten, so most must pass it; a name beside it says how
// to read what is otherwise vague.
const (
	shareAlone   = 0.6
	shareNamed   = 0.3
	shareChecked = 0.5
	shareVague   = 0.75 // of forms that other things have, too
)

// kind is a label, what its values must be and how sure that makes.
type kind struct {
	label   Label
	entity  detect.Entity
	checked bool
}

// kinds in the order in which they count: what is surer comes first.
var kinds = [...]kind{
	{Email, detect.Email, true},
	{IBAN, detect.IBAN, true},
	{CreditCard, detect.CreditCard, true},
	{SSN, detect.SSN, false},
	{IP, detect.IP, true},
	{Secret, detect.Secret, true},
	{Phone, detect.Phone, false},
}

// Column says what a column holds, by its name and values of it in their text
// form.
func (c *Classifier) Column(name string, values []string) Finding {
	words := wordsOf(name)
	if describes(words) {
		// "phone_count", "email_hash", "is_email_verified": about it, not it.
		words = nil
	}
	label := detect.LabelOf(name)
	hits := map[detect.Entity]int{}
	said, national, places := 0, 0, 0
	people, shaped, several := 0, 0, 0
	var spans []detect.Span
	for _, value := range values {
		value = strings.TrimSpace(value)
		if empty(value) {
			continue
		}
		said++
		spans = c.scanner.ScanCell(spans[:0], []byte(value), label)
		counted := map[detect.Entity]bool{}
		for _, span := range spans {
			// A column of notes may hold addresses in passing; a column of
			// addresses holds hardly anything else.
			if 3*(span.End-span.Start) < 2*len(value) || counted[span.Entity] {
				continue
			}
			counted[span.Entity] = true
			if detect.IsNationalID(span.Entity) {
				if !counted[detect.None] {
					counted[detect.None] = true
					national++
				}
				continue
			}
			hits[span.Entity]++
		}
		if !counted[detect.Phone] && dialled(value) {
			hits[detect.Phone]++
		}
		if place(value) {
			places++
		}
		if looks, capital, words := person(value); looks {
			shaped++
			if capital {
				people++
			}
			if words > 1 {
				several++
			}
		}
	}
	if said == 0 {
		return Finding{}
	}
	share := func(n int) float64 { return float64(n) / float64(said) }
	for _, k := range kinds {
		n, named := hits[k.entity], says(words, k.label)
		least := shareAlone
		switch {
		case named && k.checked:
			least = shareChecked
		case named:
			least = shareNamed
		case k.label == Phone:
			least = shareVague
		}
		if share(n) >= least {
			return Finding{Label: k.label, Values: said, Hits: n, Checked: k.checked, Named: named}
		}
	}
	if named := says(words, NationalID); share(national) >= shareAlone || named && share(national) >= shareNamed {
		return Finding{Label: NationalID, Values: said, Hits: national, Checked: true, Named: named}
	}
	if named := says(words, Address); share(places) >= 0.3 || named && places > 0 && share(places) >= 0.1 {
		return Finding{Label: Address, Values: said, Hits: places, Named: named}
	}
	// Nothing but words, most with a capital, some of several: names, in whatever
	// case each was typed. One capitalized word may be anything.
	names := share(shaped) >= 0.9 && share(people) >= 0.45 && share(several) >= 0.25 && varied(values, 0.4)
	if named := says(words, Person); !misnamed(words) && names || named && share(shaped) >= shareAlone && people > 0 {
		return Finding{Label: Person, Values: said, Hits: shaped, Named: named}
	}
	return Finding{Values: said}
}

// empty says whether a value stands for none.
func empty(value string) bool {
	switch strings.ToLower(value) {
	case "", "-", "--", "n/a", "na", "null", "none", "nil", "unknown", "unbekannt", "?", ".", "tbd", "x", "(none)", "not available":
		return true
	}
	return false
}

// varied says whether at least such a share of what is there differs. Few
// values that come again and again are states of something.
func varied(values []string, least float64) bool {
	seen, said := map[string]bool{}, 0
	for _, v := range values {
		if v = strings.TrimSpace(v); !empty(v) {
			said++
			seen[v] = true
		}
	}
	return float64(len(seen)) >= least*float64(said)
}
