package file

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/lazuli-logs/lazuli/internal/checkpoint"
)

// cursor is how far a file was read, and how it began then.
type cursor struct {
	offset int64
	head   int    // how many of the first bytes the hash is of
	hash   string // of those bytes
}

func (c cursor) String() string { return fmt.Sprintf("v1:%d:%d:%s", c.offset, c.head, c.hash) }

func parseCursor(text checkpoint.Cursor) (c cursor, err error) {
	n, err := fmt.Sscanf(string(text), "v1:%d:%d:%s", &c.offset, &c.head, &c.hash)
	if err != nil || n != 3 || c.offset < 0 || c.head < 0 || c.head > headBytes || c.String() != string(text) {
		return cursor{}, fmt.Errorf("read the position %q of a file: it is not of the form v1:<offset>:<length>:<hash>", text)
	}
	return c, nil
}

// headBytes bounds what identifies a file by its beginning.
const headBytes = 1024

func hashOf(head []byte) string {
	sum := sha256.Sum256(head)
	return hex.EncodeToString(sum[:8])
}
