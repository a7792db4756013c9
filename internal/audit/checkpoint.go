package audit

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// checkpoint is what is signed: that the log of this origin had this root at
// this size (the format of C2SP's tlog-checkpoint), and when that was said. An
// export ends with one that says so.
type checkpoint struct {
	size     int64
	root     tlog.Hash
	at       time.Time
	exported bool
}

const (
	timeLine   = "time "
	exportLine = "export"
	maxNote    = 4 << 10
)

func (k *Key) sign(c checkpoint) (string, error) {
	text := fmt.Sprintf("%s\n%d\n%s\n%s%s\n", k.verifier.Name(), c.size, c.root, timeLine, c.at.UTC().Format(time.RFC3339Nano))
	if c.exported {
		text += exportLine + "\n"
	}
	signed, err := note.Sign(&note.Note{Text: text}, k.signer)
	return string(signed), err
}

var errCheckpoint = errors.New("it isn't written as one")

// openCheckpoint verifies a signed note.
func openCheckpoint(signed string, v note.Verifier) (checkpoint, error) {
	var c checkpoint
	if len(signed) > maxNote {
		return c, errCheckpoint
	}
	n, err := note.Open([]byte(signed), note.VerifierList(v))
	var unverified *note.UnverifiedNoteError
	var invalid *note.InvalidSignatureError
	switch {
	case errors.As(err, &unverified):
		return c, errors.New("it isn't signed with this log's key")
	case errors.As(err, &invalid):
		return c, errors.New("its signature is wrong")
	case err != nil:
		return c, errCheckpoint
	}
	lines := strings.Split(strings.TrimSuffix(n.Text, "\n"), "\n")
	if len(lines) < 4 || len(lines) > 5 || lines[0] != v.Name() {
		return c, errCheckpoint
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return c, errCheckpoint
	}
	c.root = tlog.Hash(root)
	if c.size, err = strconv.ParseInt(lines[1], 10, 64); err != nil || c.size < 0 {
		return c, errCheckpoint
	}
	at, ok := strings.CutPrefix(lines[3], timeLine)
	if c.at, err = time.Parse(time.RFC3339Nano, at); !ok || err != nil {
		return c, errCheckpoint
	}
	if c.exported = len(lines) == 5; c.exported && lines[4] != exportLine {
		return c, errCheckpoint
	}
	return c, nil
}

// SplitCheckpoints takes apart a file of checkpoints, one after the other.
func SplitCheckpoints(text string) []string {
	var all []string
	text = strings.TrimSpace(text) + "\n" // as whoever copied it may have left it
	begin := 0
	for at := 0; at < len(text); {
		line := strings.IndexByte(text[at:], '\n')
		if line < 0 {
			break
		}
		if strings.HasPrefix(text[at:], "— ") {
			all = append(all, strings.TrimLeft(text[begin:at+line+1], "\n"))
			begin = at + line + 1
		}
		at += line + 1
	}
	return all
}
