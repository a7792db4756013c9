//go:build versitygw

package witness_test

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"postern"
	"postern/internal/audit"
	"postern/internal/audit/witness"
)

const s3Key, s3Secret = "postern-test", "a secret access key of the test"

// s3Server starts versitygw over folders, and returns where it listens and a client
// with its owner's rights. `make s3` installs it and runs this.
func s3Server(t *testing.T) (string, *minio.Client) {
	t.Helper()
	program := os.Getenv("POSTERN_VERSITYGW")
	if program == "" {
		t.Fatal("POSTERN_VERSITYGW is to name versitygw: run `make s3`")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := l.Addr().String()
	must(t, l.Close())
	objects, versions := t.TempDir(), t.TempDir()
	cmd := exec.Command(program, "--port", address, "--quiet", "posix", "--versioning-dir", versions, objects)
	cmd.Env = []string{"ROOT_ACCESS_KEY=" + s3Key, "ROOT_SECRET_KEY=" + s3Secret, "HOME=" + objects}
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	client, err := minio.New(address, &minio.Options{Creds: credentials.NewStaticV4(s3Key, s3Secret, "")})
	must(t, err)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); ; <-tick.C {
		if _, err := client.ListBuckets(t.Context()); err == nil {
			return address, client
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func bucket(t *testing.T, address, path, secret string) *witness.S3 {
	t.Helper()
	w, err := witness.NewS3(witness.S3Config{
		URL: "http://" + address + "/" + path, AccessKey: s3Key, SecretKey: postern.NewSecret(secret), Retain: 24 * time.Hour, Now: time.Now,
	})
	must(t, err)
	return w
}

// Whoever has all of the gateway, its key and its account in the bucket included,
// takes no checkpoint away.
func TestS3Witness(t *testing.T) {
	address, client := s3Server(t)
	ctx := t.Context()
	must(t, client.MakeBucket(ctx, "audit", minio.MakeBucketOptions{ObjectLocking: true}))
	elsewhere := bucket(t, address, "audit/gateway", s3Secret)
	if kept, err := elsewhere.Kept(ctx); kept != "" || err != nil {
		t.Errorf("an empty bucket keeps %q, %v", kept, err)
	}
	dir := t.TempDir()
	g := newGateway(t, dir, elsewhere)
	g.add(t, 3)
	old := filepath.Join(t.TempDir(), "old")
	must(t, os.CopyFS(old, os.DirFS(dir)))
	must(t, os.Chmod(filepath.Join(old, vaultFile(t, old)), 0o600))
	l := g.add(t, 9)
	check := func(what string) {
		t.Helper()
		kept, err := elsewhere.Kept(ctx)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if size, err := audit.CheckpointSize(kept, l.PublicKey()); err != nil || size != 12 {
			t.Errorf("%s: the bucket keeps %d, %v", what, size, err)
		}
		if _, err := l.Verify(ctx, nil); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	check("at first")

	var all []minio.ObjectInfo
	for o := range client.ListObjects(ctx, "audit", minio.ListObjectsOptions{WithVersions: true, Recursive: true}) {
		must(t, o.Err)
		all = append(all, o)
	}
	if len(all) < 2 || !strings.HasPrefix(all[0].Key, "gateway/9223372036854775795-12") {
		t.Fatalf("%d objects, the first is %q", len(all), all[0].Key)
	}
	latest := all[0]
	stat, err := client.StatObject(ctx, "audit", latest.Key, minio.StatObjectOptions{VersionID: latest.VersionID})
	must(t, err)
	until, err := time.Parse(time.RFC3339, stat.Metadata.Get("X-Amz-Object-Lock-Retain-Until-Date"))
	if mode := stat.Metadata.Get("X-Amz-Object-Lock-Mode"); mode != "COMPLIANCE" || err != nil || time.Until(until) < 23*time.Hour {
		t.Errorf("locked in mode %q until %s, %v", mode, until, err)
	}
	if err := client.RemoveObject(ctx, "audit", latest.Key, minio.RemoveObjectOptions{VersionID: latest.VersionID, GovernanceBypass: true}); err == nil {
		t.Error("a checkpoint was deleted for good")
	}
	must(t, client.RemoveObject(ctx, "audit", latest.Key, minio.RemoveObjectOptions{}))
	check("after a deletion")
	_, err = client.PutObject(ctx, "audit", latest.Key, strings.NewReader("nothing"), 7, minio.PutObjectOptions{SendContentMd5: true})
	must(t, err)
	check("after another one was put in its place")

	back := newGateway(t, old, elsewhere)
	_, err = audit.Open(ctx, back.cfg)
	var tampered *audit.TamperedError
	if !errors.As(err, &tampered) || !strings.Contains(err.Error(), elsewhere.Name()) {
		t.Errorf("an old copy was opened: %v", err)
	}
}

// What can't keep a checkpoint is told so, and no secret with it.
func TestS3WitnessRefused(t *testing.T) {
	address, client := s3Server(t)
	ctx := t.Context()
	must(t, client.MakeBucket(ctx, "open", minio.MakeBucketOptions{}))
	must(t, client.MakeBucket(ctx, "locked", minio.MakeBucketOptions{ObjectLocking: true}))
	const checkpoint = "postern\n7\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n— postern AAAA\n"
	for _, c := range []struct{ path, secret, want string }{
		{"open", s3Secret, "object lock"},
		{"nowhere", s3Secret, "object lock"},
		{"locked", "another secret", "object lock"},
	} {
		w := bucket(t, address, c.path, c.secret)
		for what, f := range map[string]func() error{
			"push": func() error { return w.Push(ctx, checkpoint) },
			"kept": func() error { _, err := w.Kept(ctx); return err },
		} {
			if err := f(); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), c.secret) {
				t.Errorf("%s, %s: %v", c.path, what, err)
			}
		}
	}
	w := bucket(t, address, "locked", s3Secret)
	if err := w.Push(ctx, "nothing"); err == nil {
		t.Error("what is no checkpoint was taken")
	}
	must(t, w.Push(ctx, checkpoint))
	_, err := client.PutObject(ctx, "locked", "0000000000000000000-9", strings.NewReader("nothing"), 7, minio.PutObjectOptions{SendContentMd5: true})
	must(t, err)
	if kept, err := w.Kept(ctx); err == nil {
		t.Errorf("what is no checkpoint was read as %q", kept)
	}
	short, cancel := context.WithCancel(ctx)
	cancel()
	if err := w.Push(short, checkpoint); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	dead := bucket(t, "127.0.0.1:1", "locked", s3Secret)
	if _, err := dead.Kept(ctx); err == nil || strings.Contains(err.Error(), s3Secret) {
		t.Error(err)
	}
}
