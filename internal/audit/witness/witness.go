// Package witness keeps an audit log's checkpoints where whoever has the
// gateway's machine can't reach them.
package witness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"postern"
	"postern/internal/audit"
	"postern/internal/audit/sink"
)

// File adds checkpoints to a file, on a disk that the gateway's machine hasn't
// got for itself.
type File struct{ Path string }

// Name implements [audit.Witness].
func (f File) Name() string { return "file " + f.Path }

// Push implements [audit.Witness].
func (f File) Push(_ context.Context, checkpoint string) error {
	file, err := os.OpenFile(f.Path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteString(checkpoint + "\n")
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// tail is how much of the file is read to find the last one.
const tail = 64 << 10

// Kept implements [audit.Witness].
func (f File) Kept(context.Context) (string, error) {
	file, err := os.Open(f.Path)
	if errors.Is(err, fs.ErrNotExist) {
		// There is none yet; but a folder that isn't there is a disk that isn't mounted.
		_, err := os.Stat(filepath.Dir(f.Path))
		return "", err
	}
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }() // only read
	st, err := file.Stat()
	if err != nil {
		return "", err
	}
	from := max(st.Size()-tail, 0)
	text, err := io.ReadAll(io.NewSectionReader(file, from, tail))
	if err != nil {
		return "", err
	}
	all := audit.SplitCheckpoints(string(text))
	if len(all) == 0 {
		if len(text) > 0 {
			return "", fmt.Errorf("%s holds no checkpoint", f.Path)
		}
		return "", nil
	}
	return all[len(all)-1], nil
}

// Webhook posts checkpoints, signed as sinks' webhooks are. It can't be asked for
// them: whoever takes them verifies with `postern audit verify --since`.
type Webhook struct {
	*sink.Poster
	URL string
	Key postern.Secret
	Now func() time.Time
}

// Name implements [audit.Witness].
func (w Webhook) Name() string { return "webhook " + w.URL }

// Push implements [audit.Witness].
func (w Webhook) Push(ctx context.Context, checkpoint string) error {
	body, err := json.Marshal(map[string]string{"checkpoint": checkpoint})
	if err != nil {
		return err
	}
	header := http.Header{"Content-Type": {"application/json"}}
	sink.Sign(header, w.Key, "checkpoint-"+audit.CheckpointID(checkpoint), w.Now(), body)
	_, err = w.Post(ctx, w.URL, header, body)
	return err
}

// Kept implements [audit.Witness].
func (Webhook) Kept(context.Context) (string, error) { return "", nil }
