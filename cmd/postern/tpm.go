package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"sync"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// defaultTPM is Linux's device of a TPM 2.0, with the kernel's resource manager
// in front, so that several programs can use it at a time.
const defaultTPM = "/dev/tpmrm0"

// tpmTime bounds a TPM that doesn't answer. A slow one takes a second for a key.
const tpmTime = 30 * time.Second

var errTPMSlow = errors.New("the TPM doesn't answer")

// noTPMError says that there is no TPM that could make a key, and why.
type noTPMError struct{ why string }

func (e *noTPMError) Error() string { return e.why }

// tpmDevice is a TPM 2.0: a device, or the Unix socket of one in software.
type tpmDevice struct{ path string }

// tpm finds this machine's TPM; whether it works, its use shows.
func (a *app) tpm() (tpmDevice, error) {
	switch path := a.getenv("POSTERN_TPM"); path {
	case "off":
		return tpmDevice{}, &noTPMError{"POSTERN_TPM is off"}
	case "":
		return tpmDevice{path: defaultTPM}, nil
	default:
		return tpmDevice{path: path}, nil
	}
}

func (a *app) newTPMKey() (*tpmKey, error) {
	d, err := a.tpm()
	if err != nil {
		return nil, err
	}
	return newTPMKey(d)
}

func (a *app) readTPMKey(text string) (*tpmKey, error) {
	d, err := a.tpm()
	if err != nil {
		return nil, err
	}
	return readTPMKey(d, []byte(text))
}

// use hands do the TPM with its storage primary key, the parent of all our keys:
// the same one each time, of which the TPM needs to keep nothing.
func (d tpmDevice) use(do func(t transport.TPM, parent tpm2.NamedHandle) error) (err error) {
	_, err = inTime(tpmTime, errTPMSlow, func() (_ struct{}, err error) {
		t, err := openTPM(d.path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return struct{}{}, &noTPMError{"there is no TPM 2.0 at " + d.path}
		case errors.Is(err, fs.ErrPermission):
			return struct{}{}, &noTPMError{d.path + " may not be opened: it is for members of its group, mostly `tss`"}
		case err != nil:
			return struct{}{}, &noTPMError{err.Error()}
		}
		defer func() { err = errors.Join(err, t.Close()) }()
		primary, err := tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHOwner, InPublic: tpm2.New2B(storageTemplate())}.Execute(t)
		if err != nil {
			return struct{}{}, fmt.Errorf("the TPM at %s: storage primary key: %w", d.path, err)
		}
		defer func() { err = errors.Join(err, flush(t, primary.ObjectHandle)) }()
		if err := do(t, tpm2.NamedHandle{Handle: primary.ObjectHandle, Name: primary.Name}); err != nil {
			return struct{}{}, fmt.Errorf("the TPM at %s: %w", d.path, err)
		}
		return struct{}{}, nil
	})
	return err
}

// storageTemplate is what the parent of all our keys is derived by: the TCG's
// template of a storage key over P-256, with nothing in "unique", as the format
// of the kept keys wants it (draft-bottomley-tpm2-keys).
func storageTemplate() tpm2.TPMTPublic {
	template := tpm2.ECCSRKTemplate
	template.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{})
	return template
}

// flush makes room: a TPM holds three keys at a time.
func flush(t transport.TPM, loaded tpm2.TPMHandle) error {
	_, err := tpm2.FlushContext{FlushHandle: loaded}.Execute(t)
	return err
}

// tpmKey is an ECDSA key over P-256 that a TPM has made and never lets out. What
// is kept of it is wrapped by that TPM, and worth nothing to any other.
type tpmKey struct {
	device  tpmDevice
	public  tpm2.TPM2BPublic
	private tpm2.TPM2BPrivate // wrapped
	key     *ecdsa.PublicKey

	mu sync.Mutex // one signature at a time
}

// newTPMKey has the TPM make a key that only signs: under its storage primary
// key, fixed to it, without a password.
func newTPMKey(d tpmDevice) (*tpmKey, error) {
	var made *tpm2.CreateResponse
	err := d.use(func(t transport.TPM, parent tpm2.NamedHandle) (err error) {
		made, err = tpm2.Create{ParentHandle: parent, InPublic: tpm2.New2B(tpm2.TPMTPublic{
			Type: tpm2.TPMAlgECC, NameAlg: tpm2.TPMAlgSHA256,
			ObjectAttributes: tpm2.TPMAObject{
				FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, UserWithAuth: true, NoDA: true, SignEncrypt: true,
			},
			Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{CurveID: tpm2.TPMECCNistP256}),
		})}.Execute(t)
		return err
	})
	if err != nil {
		return nil, err
	}
	return openTPMKey(d, made.OutPublic, made.OutPrivate)
}

// openTPMKey knows a key by what was kept of it. Whether it is this TPM's shows
// when it signs.
func openTPMKey(d tpmDevice, public tpm2.TPM2BPublic, private tpm2.TPM2BPrivate) (*tpmKey, error) {
	contents, err := public.Contents()
	if err != nil {
		return nil, err
	}
	key, err := tpm2.Pub(*contents)
	if err != nil {
		return nil, err
	}
	point, ok := key.(*ecdsa.PublicKey)
	if !ok || point.Curve != elliptic.P256() {
		return nil, errors.New("it is no ECDSA key over P-256")
	}
	if _, err := point.ECDH(); err != nil { // it is on the curve
		return nil, err
	}
	return &tpmKey{device: d, public: public, private: private, key: point}, nil
}

// Public implements [crypto.Signer].
func (k *tpmKey) Public() crypto.PublicKey { return k.key }

// Sign implements [crypto.Signer]. Of a longer digest ECDSA takes what fits the
// curve, which is all that the TPM needs to see.
func (k *tpmKey) Sign(_ io.Reader, digest []byte, _ crypto.SignerOpts) ([]byte, error) {
	const size = 32
	if len(digest) < size {
		return nil, errors.New("a key in a TPM signs digests of 32 bytes and more")
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	var signature *tpm2.TPMSSignatureECC
	err := k.device.use(func(t transport.TPM, parent tpm2.NamedHandle) (err error) {
		loaded, err := tpm2.Load{ParentHandle: parent, InPrivate: k.private, InPublic: k.public}.Execute(t)
		if errors.Is(err, tpm2.TPMRCIntegrity) {
			return fmt.Errorf("the key is another TPM's, and can be used on its own machine only: %w", err)
		}
		if err != nil {
			return fmt.Errorf("load the key: %w", err)
		}
		defer func() { err = errors.Join(err, flush(t, loaded.ObjectHandle)) }()
		signed, err := tpm2.Sign{
			KeyHandle: tpm2.NamedHandle{Handle: loaded.ObjectHandle, Name: loaded.Name},
			Digest:    tpm2.TPM2BDigest{Buffer: digest[:size]},
			InScheme: tpm2.TPMTSigScheme{
				Scheme:  tpm2.TPMAlgECDSA,
				Details: tpm2.NewTPMUSigScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSchemeHash{HashAlg: tpm2.TPMAlgSHA256}),
			},
			Validation: tpm2.TPMTTKHashCheck{Tag: tpm2.TPMSTHashCheck},
		}.Execute(t)
		if err != nil {
			return fmt.Errorf("sign: %w", err)
		}
		signature, err = signed.Signature.Signature.ECDSA()
		return err
	})
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(struct{ R, S *big.Int }{
		new(big.Int).SetBytes(signature.SignatureR.Buffer), new(big.Int).SetBytes(signature.SignatureS.Buffer),
	})
}

// tpmPEM is the PEM type of a key that a TPM has wrapped, as OpenSSL's providers
// and others read and write it: draft-bottomley-tpm2-keys, "ASN.1 Specification
// for TPM 2.0 Key Files".
const tpmPEM = "TSS2 PRIVATE KEY"

// tpmKeyFile is TPMKey of the draft, section 3.1, without what we never use.
type tpmKeyFile struct {
	Type      asn1.ObjectIdentifier
	EmptyAuth bool `asn1:"optional,explicit,tag:0"`
	Parent    int64
	Public    []byte // TPM2B_PUBLIC
	Private   []byte // TPM2B_PRIVATE
}

// loadableKey is id-loadablekey.
func loadableKey() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{2, 23, 133, 10, 1, 3} }

// file is what is kept of the key.
func (k *tpmKey) file() ([]byte, error) {
	der, err := asn1.Marshal(tpmKeyFile{
		Type: loadableKey(), EmptyAuth: true, Parent: int64(tpm2.TPMRHOwner), Public: tpm2.Marshal(k.public), Private: tpm2.Marshal(k.private),
	})
	return pem.EncodeToMemory(&pem.Block{Type: tpmPEM, Bytes: der}), err
}

// readTPMKey reads what was kept of a key.
func readTPMKey(d tpmDevice, text []byte) (*tpmKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != tpmPEM {
		return nil, errors.New("it is no " + tpmPEM)
	}
	var f tpmKeyFile
	rest, err := asn1.Unmarshal(block.Bytes, &f)
	if err != nil {
		return nil, err
	}
	if len(rest) > 0 || !f.Type.Equal(loadableKey()) || !f.EmptyAuth || f.Parent != int64(tpm2.TPMRHOwner) {
		return nil, errors.New("it is none that postern made")
	}
	public, err := tpm2.Unmarshal[tpm2.TPM2BPublic](f.Public)
	if err != nil {
		return nil, err
	}
	private, err := tpm2.Unmarshal[tpm2.TPM2BPrivate](f.Private)
	if err != nil {
		return nil, err
	}
	return openTPMKey(d, *public, *private)
}
