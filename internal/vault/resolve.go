package vault

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync"

	"postern"
)

// maxSecretFile bounds a credential's file.
const maxSecretFile = 64 << 10

// SealedStore keeps sealed secrets by name.
type SealedStore interface {
	Sealed(ctx context.Context, name string) (string, error)
}

// Resolver finds the secrets that configuration and resources refer to. It
// looks them up at every use, so that a changed file or sealed secret counts at
// once. Nothing that it returns in an error or logs holds a secret.
//
// It leaves the environment as it is: a program that starts children beside it
// must hand them an environment of their own.
type Resolver struct {
	Vault     *Vault
	Sealed    SealedStore
	LookupEnv func(string) (string, bool) // nil: the process's own environment
	Log       *slog.Logger                // nil: no warnings

	warned sync.Map // files whose mode was complained about
}

// SealSecret seals a secret that a SecretRef will name; the empty name seals
// one that stands in the SecretRef itself.
func (v *Vault) SealSecret(name string, secret postern.Secret) (string, error) {
	return v.Seal(secretPurpose(name), []byte(secret.Reveal()))
}

// secretPurpose binds a sealed secret to its name, so that one can't be put in
// another's place in the store.
func secretPurpose(name string) string { return "secret:" + name }

// Resolve finds what the gateway presents to a resource.
func (r *Resolver) Resolve(ctx context.Context, refs postern.CredentialRefs) (postern.Login, error) {
	login := postern.Login{Username: refs.Username}
	for _, part := range []struct {
		name string
		ref  postern.SecretRef
		into *postern.Secret
	}{
		{"password", refs.Password, &login.Password},
		{"private_key", refs.PrivateKey, &login.PrivateKey},
		{"certificate", refs.Certificate, &login.Certificate},
	} {
		secret, err := r.Secret(ctx, part.ref)
		if err != nil {
			return postern.Login{}, fmt.Errorf("%s: %w", part.name, err)
		}
		*part.into = secret
	}
	return login, nil
}

// Secret finds one secret. The zero SecretRef is no secret, and no error.
func (r *Resolver) Secret(ctx context.Context, ref postern.SecretRef) (postern.Secret, error) {
	set := 0
	for _, s := range []string{ref.Env, ref.File, ref.Sealed, ref.Vault} {
		if s != "" {
			set++
		}
	}
	switch {
	case set == 0:
		return postern.Secret{}, nil
	case set > 1:
		return postern.Secret{}, errors.New("more than one of env, file, sealed and vault is set")
	case ref.Env != "":
		return r.env(ref.Env)
	case ref.File != "":
		return r.file(ref.File)
	case ref.Sealed != "":
		return r.sealed(ctx, ref.Sealed)
	default:
		return postern.Secret{}, errors.New("vault: this build reads secrets from env, file or sealed; an external vault can't be asked yet")
	}
}

func (r *Resolver) env(name string) (postern.Secret, error) {
	lookup := r.LookupEnv
	if lookup == nil {
		lookup = os.LookupEnv
	}
	value, ok := lookup(name)
	switch {
	case !ok:
		return postern.Secret{}, fmt.Errorf("environment variable %s is not set", name)
	case value == "":
		return postern.Secret{}, fmt.Errorf("environment variable %s is empty", name)
	}
	return postern.NewSecret(value), nil
}

func (r *Resolver) file(path string) (postern.Secret, error) {
	text, err := readLimited(path, maxSecretFile)
	if err != nil {
		return postern.Secret{}, err // names the file, not what is in it
	}
	r.checkMode(path)
	value := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	if value == "" {
		return postern.Secret{}, fmt.Errorf("%s is empty", path)
	}
	return postern.NewSecret(value), nil
}

// checkMode warns once of a file that others can read. It isn't refused:
// mounted secrets come with the mode that the orchestrator gives them.
func (r *Resolver) checkMode(path string) {
	info, err := os.Stat(path)
	if err != nil || r.Log == nil || info.Mode().Perm()&0o077 == 0 || runtime.GOOS == "windows" {
		return
	}
	if _, again := r.warned.LoadOrStore(path, true); !again {
		r.Log.Warn("a credential's file can be read by others", "file", path, "mode", info.Mode().Perm().String())
	}
}

func (r *Resolver) sealed(ctx context.Context, ref string) (postern.Secret, error) {
	name, ciphertext := "", ref
	if !strings.HasPrefix(ref, prefix) {
		if r.Sealed == nil {
			return postern.Secret{}, errors.New("sealed: no store of sealed secrets is open")
		}
		var err error
		name = ref
		ciphertext, err = r.Sealed.Sealed(ctx, name)
		if errors.Is(err, postern.ErrNotFound) {
			// It may be the secret itself, put there by mistake.
			return postern.Secret{}, errors.New("sealed: what is given isn't what `postern secret seal` printed")
		}
		if err != nil {
			return postern.Secret{}, err
		}
	}
	plain, err := r.Vault.Unseal(secretPurpose(name), ciphertext)
	if err != nil {
		return postern.Secret{}, err
	}
	return postern.NewSecret(string(plain)), nil
}

// SealSecretInline seals a secret that stands in a SecretRef itself.
func (v *Vault) SealSecretInline(secret postern.Secret) (string, error) {
	return v.SealSecret("", secret)
}
