package audit

import (
	"context"
	"fmt"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"
)

// tree is the right edge of the log's Merkle tree: all that is needed to add
// leaves and to know the root.
type tree struct {
	size int64
	// edge[i] is the hash of the complete subtree of 2^i leaves that the size
	// has a bit for.
	edge [63]tlog.Hash
}

// add adds a leaf, and appends to dst the hashes of the subtrees that it
// completes: those that are stored, in the order of their indexes.
func (t *tree) add(dst [][32]byte, leaf tlog.Hash) [][32]byte {
	dst = append(dst, leaf)
	level := 0
	for ; t.size>>level&1 == 1; level++ {
		leaf = tlog.NodeHash(t.edge[level], leaf)
		dst = append(dst, leaf)
	}
	t.edge[level] = leaf
	t.size++
	return dst
}

// root is the tree's hash.
func (t *tree) root() tlog.Hash {
	if t.size == 0 {
		empty, _ := tlog.TreeHash(0, nil) // of no leaf: nothing is read, nothing can fail
		return empty
	}
	level := bits.TrailingZeros64(uint64(t.size))
	h := t.edge[level]
	for level++; t.size>>level > 0; level++ {
		if t.size>>level&1 == 1 {
			h = tlog.NodeHash(t.edge[level], h)
		}
	}
	return h
}

// readTree reads the right edge of the tree of a size from the stored hashes.
func readTree(ctx context.Context, store Store, size int64) (tree, error) {
	t := tree{size: size}
	var start int64
	for level := 62; level >= 0; level-- {
		if size>>level&1 == 0 {
			continue
		}
		index := tlog.StoredHashIndex(level, start>>level)
		hashes, err := store.AuditHashes(ctx, index, 1)
		if err != nil {
			return t, err
		}
		if len(hashes) != 1 {
			return t, &TamperedError{Seq: start + 1, Reason: fmt.Sprintf("hash %d is missing", index)}
		}
		t.edge[level] = hashes[0]
		start += 1 << level
	}
	return t, nil
}
