package witness

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"postern"
	"postern/internal/audit"
)

// S3 puts checkpoints into a bucket with object lock, in compliance mode: until
// their time is over nobody can change or delete them, the owner of the account
// included. See "Locking objects with Object Lock" in Amazon S3's user guide.
//
// An object is named PREFIX/N-SIZE, where SIZE is the number of entries and N what
// is left of it to the greatest number there is: a bucket lists by name, and so the
// latest first.
type S3 struct {
	client         *minio.Client
	link           string
	bucket, prefix string
	retain         time.Duration
	now            func() time.Time
}

// S3Config says where a bucket is, and how to get in.
type S3Config struct {
	URL       string // https://ENDPOINT/BUCKET or https://ENDPOINT/BUCKET/PREFIX
	Region    string // "": found out
	AccessKey string
	SecretKey postern.Secret
	Retain    time.Duration // how long each checkpoint is locked
	TLS       *tls.Config
	Now       func() time.Time
}

// maxKept is how much of an object is read: a checkpoint has some hundred bytes.
const maxKept = 64 << 10

// NewS3 makes the witness. It asks nothing of the bucket yet.
func NewS3(c S3Config) (*S3, error) {
	u, err := url.Parse(c.URL)
	if err != nil {
		return nil, err
	}
	bucket, prefix, _ := strings.Cut(strings.Trim(u.Path, "/"), "/")
	transport, err := minio.DefaultTransport(u.Scheme == "https")
	if err != nil {
		return nil, err
	}
	if c.TLS != nil {
		transport.TLSClientConfig = c.TLS
	}
	client, err := minio.New(u.Host, &minio.Options{
		Creds:  credentials.NewStaticV4(c.AccessKey, c.SecretKey.Reveal(), ""),
		Secure: u.Scheme == "https", Region: c.Region, Transport: transport,
		MaxRetries: 1, // whoever pushes tries again
	})
	if err != nil {
		return nil, err
	}
	return &S3{client: client, link: c.URL, bucket: bucket, prefix: prefix, retain: c.Retain, now: c.Now}, nil
}

// Name implements [audit.Witness].
func (w *S3) Name() string { return "s3 " + w.link }

// Push implements [audit.Witness].
func (w *S3) Push(ctx context.Context, checkpoint string) error {
	if err := w.locks(ctx); err != nil {
		return err
	}
	size, err := audit.ClaimedSize(checkpoint)
	if err != nil {
		return err
	}
	_, err = w.client.PutObject(ctx, w.bucket, w.object(size), strings.NewReader(checkpoint), int64(len(checkpoint)), minio.PutObjectOptions{
		ContentType: "text/plain; charset=utf-8", SendContentMd5: true, DisableMultipart: true,
		Mode: minio.Compliance, RetainUntilDate: w.now().Add(w.retain).UTC(),
	})
	return err
}

func (w *S3) object(size int64) string {
	return path.Join(w.prefix, fmt.Sprintf("%019d-%d", math.MaxInt64-size, size))
}

// locks says whether the bucket locks objects. One that doesn't may take a
// checkpoint all the same, and let go of it.
func (w *S3) locks(ctx context.Context) error {
	state, _, _, _, err := w.client.GetObjectLockConfig(ctx, w.bucket)
	if err != nil {
		return fmt.Errorf("the bucket's object lock: %w", err)
	}
	if state != "Enabled" {
		return errors.New("the bucket has no object lock: make one that has, for it can't be added later")
	}
	return nil
}

// Kept implements [audit.Witness]. Of the latest checkpoint's versions the first
// counts: whoever wrote another one later can't have taken it away, and a deletion
// only hides it.
func (w *S3) Kept(ctx context.Context) (string, error) {
	if err := w.locks(ctx); err != nil {
		return "", err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the listing
	var first minio.ObjectInfo
	prefix := w.prefix
	if prefix != "" {
		prefix += "/"
	}
	for o := range w.client.ListObjects(ctx, w.bucket, minio.ListObjectsOptions{Prefix: prefix, WithVersions: true, Recursive: true}) {
		if o.Err != nil {
			return "", o.Err
		}
		if o.IsDeleteMarker {
			continue
		}
		if first.Key != "" && o.Key != first.Key {
			break
		}
		first = o // of a name's versions the oldest comes last
	}
	if first.Key == "" {
		return "", nil
	}
	object, err := w.client.GetObject(ctx, w.bucket, first.Key, minio.GetObjectOptions{VersionID: first.VersionID})
	if err != nil {
		return "", err
	}
	defer func() { _ = object.Close() }() // only read
	text, err := io.ReadAll(io.LimitReader(object, maxKept))
	if err != nil {
		return "", fmt.Errorf("%s: %w", first.Key, err)
	}
	all := audit.SplitCheckpoints(string(text))
	if len(all) != 1 {
		return "", fmt.Errorf("%s is no checkpoint", first.Key)
	}
	return all[0], nil
}
