//go:build unix

package keys_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/keys"
)

// TestOwnerStays: root revokes a key of a server that is another user, who can still read the file.
func TestOwnerStays(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can give a file away")
	}
	const owner, group = 12345, 12346
	file := filepath.Join(t.TempDir(), "keys.yaml")
	_, k := made("web")
	if err := keys.Append(file, nil, k); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(file, owner, group); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Revoke(file, nil, "web"); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if s := info.Sys().(*syscall.Stat_t); s.Uid != owner || s.Gid != group || info.Mode().Perm() != 0o600 {
		t.Errorf("it is of %d and %d, %v", s.Uid, s.Gid, info.Mode())
	}
}
