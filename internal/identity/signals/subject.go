package signals

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// subject is a subject identifier (RFC 9493), or a complex subject of the
// Shared Signals Framework (section 3.4).
type subject struct {
	Format  string    `json:"format"`
	Legacy  string    `json:"subject_type"` // drafts' word for it
	Issuer  string    `json:"iss"`
	Subject string    `json:"sub"`
	Email   string    `json:"email"`
	ID      string    `json:"id"`
	URI     string    `json:"uri"`
	Any     []subject `json:"identifiers"`

	User    *subject `json:"user"`
	Session *subject `json:"session"`
}

// maxDepth bounds how deep subjects may stand in each other.
const maxDepth = 3

// resolve says whom a subject means among the people of one provider. The error
// says that it means nobody whom this receiver may speak of.
func (s *subject) resolve(cfg Config, depth int) (Subject, error) {
	if depth > maxDepth {
		return Subject{}, errors.New("its subject is nested too deep")
	}
	for _, text := range []string{s.Issuer, s.Subject, s.Email, s.ID, s.URI} {
		if len(text) > maxID {
			return Subject{}, errors.New("its subject is too long")
		}
	}
	format := strings.ReplaceAll(s.Format+s.Legacy, "-", "_")
	if s.User != nil || s.Session != nil {
		format = "complex"
	}
	out := Subject{Provider: cfg.Provider}
	switch format {
	case "iss_sub":
		if s.Issuer != cfg.SubIssuer {
			return Subject{}, fmt.Errorf("its subject is of issuer %q, and this sender may speak of %q only", s.Issuer, cfg.SubIssuer)
		}
		out.Subject = s.Subject
	case "opaque":
		out.Subject = s.ID
	case "email":
		out.Email = s.Email
	case "account":
		out.Email, _ = strings.CutPrefix(s.URI, "acct:")
	case "aliases":
		return s.alias(cfg, depth)
	case "complex":
		return s.complex(cfg, depth)
	default:
		return Subject{}, fmt.Errorf("its subject has the format %q, which isn't understood", bounded(format))
	}
	if out.IsZero() {
		return Subject{}, errors.New("its subject is empty")
	}
	return out, nil
}

// alias takes the first of several names of one person that is understood, the
// provider's own id before all others.
func (s *subject) alias(cfg Config, depth int) (Subject, error) {
	var first Subject
	errs := []error{errors.New("none of its subject's aliases is understood")}
	for i := range s.Any {
		one, err := s.Any[i].resolve(cfg, depth+1)
		switch {
		case err != nil:
			errs = append(errs, err)
		case one.Subject != "":
			return one, nil
		case first.IsZero():
			first = one
		}
	}
	if first.IsZero() {
		return Subject{}, errors.Join(errs...)
	}
	return first, nil
}

// complex means a person, and perhaps one session of theirs.
func (s *subject) complex(cfg Config, depth int) (Subject, error) {
	out := Subject{Provider: cfg.Provider}
	if s.User != nil {
		var err error
		if out, err = s.User.resolve(cfg, depth+1); err != nil {
			return Subject{}, err
		}
	}
	if s.Session != nil {
		out.Session = s.Session.ID
		if out.Session == "" || len(out.Session) > maxID {
			return Subject{}, errors.New("its subject names a session in a way that isn't understood")
		}
	}
	return out, nil
}

// unique refuses an object that names a member twice, at any depth: who reads
// the first and who reads the last would each believe something else.
func unique(payload []byte) error {
	dec := json.NewDecoder(bytes.NewReader(payload))
	dec.UseNumber()
	if err := uniqueValue(dec, 0); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows its claims")
	}
	return nil
}

// maxNesting bounds the depth of claims.
const maxNesting = 16

func uniqueValue(dec *json.Decoder, depth int) error {
	tok, err := dec.Token()
	if err != nil {
		return fmt.Errorf("its claims can't be read: %w", err)
	}
	open, ok := tok.(json.Delim)
	if !ok {
		return nil
	}
	if depth == maxNesting {
		return errors.New("its claims are nested too deep")
	}
	names := map[string]bool{}
	for dec.More() {
		if open == '{' {
			name, err := dec.Token()
			if err != nil {
				return fmt.Errorf("its claims can't be read: %w", err)
			}
			// Decoding matches names whatever their case.
			folded := strings.ToLower(fmt.Sprint(name))
			if names[folded] {
				return fmt.Errorf("its claims name %q twice", bounded(folded))
			}
			names[folded] = true
		}
		if err := uniqueValue(dec, depth+1); err != nil {
			return err
		}
	}
	_, err = dec.Token() // the end of what was opened
	return err
}
