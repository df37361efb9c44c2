package admin_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/admin"
)

func TestReadToken(t *testing.T) {
	long := strings.Repeat("x", 4096)
	for _, tc := range []struct {
		name, content string
		mode          os.FileMode
		want          string // the token, or
		fault         string // a part of the error
	}{
		{"as made", token + "\n", 0o600, token, ""},
		{"read-only", token, 0o400, token, ""},
		{"white space around it", "\t " + token + " \r\n\n", 0o600, token, ""},
		{"punctuation", "a-._~+/=!", 0o600, "a-._~+/=!", ""},
		{"longest", long, 0o600, long, ""},

		{"others read", token, 0o604, "", "(mode 0604): chmod 600"},
		{"group reads", token, 0o640, "", "(mode 0640): chmod 600"},
		{"others write", token, 0o602, "", "(mode 0602): chmod 600"},
		{"everybody", token, 0o666, "", "(mode 0666): chmod 600"},
		{"empty", "", 0o600, "", "is empty"},
		{"blank", " \n\n", 0o600, "", "is empty"},
		{"too long", long + "x", 0o600, "", "over 4096 bytes"},
		{"too long by white space", token + strings.Repeat("\n", 4096), 0o600, "", "over 4096 bytes"},
		{"two words", "HN5W 2QJ7", 0o600, "", "white space"},
		{"two lines", "HN5W\n2QJ7\n", 0o600, "", "white space"},
		{"byte order mark", "\ufeffHN5W", 0o600, "", "printable ASCII"},
		{"control character", "HN5W\x1b2QJ7", 0o600, "", "printable ASCII"},
		{"no text", "HN5W\xff", 0o600, "", "printable ASCII"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "admin-token")
			if err := os.WriteFile(path, []byte(tc.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, tc.mode); err != nil { // past the umask
				t.Fatal(err)
			}
			got, err := admin.ReadToken(path)
			if tc.fault == "" {
				if err != nil || got != tc.want {
					t.Errorf("got %.40q, %v; want %.40q", got, err, tc.want)
				}
				return
			}
			if err == nil || got != "" {
				t.Fatalf("got %.40q, %v; want an error", got, err)
			}
			for _, want := range []string{"read the admin token", path, tc.fault} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q, want %q in it", err, want)
				}
			}
			if strings.Contains(err.Error(), "HN5W") {
				t.Errorf("error %q shows what is in the file", err)
			}
		})
	}
}

func TestReadTokenMakesOne(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "cache", "patchbay")
	path := filepath.Join(folder, "admin-token")
	made, err := admin.ReadToken(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(made) < 26 {
		t.Errorf("token of %d characters", len(made))
	}
	for name, want := range map[string]os.FileMode{path: 0o600, folder: 0o700, filepath.Dir(folder): 0o700} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want mode %v", name, info.Mode(), err, want)
		}
	}
	if again, err := admin.ReadToken(path); err != nil || again != made {
		t.Errorf("read again: %v, the same: %v", err, again == made)
	}
	other, err := admin.ReadToken(filepath.Join(t.TempDir(), "admin-token"))
	if err != nil || other == made {
		t.Errorf("another file: %v, the same token: %v", err, other == made)
	}
	if _, err := admin.New(admin.Options{Token: made, View: full()}); err != nil {
		t.Error(err)
	}
}

// A server and a command line that start together agree, and leave one file behind.
func TestReadTokenAtOnce(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "cache")
	var (
		wg     sync.WaitGroup
		tokens [16]string
	)
	for i := range tokens {
		wg.Go(func() {
			var err error
			if tokens[i], err = admin.ReadToken(filepath.Join(folder, "admin-token")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i, got := range tokens {
		if got != tokens[0] {
			t.Errorf("reader %d got another token", i)
		}
	}
	left, err := os.ReadDir(folder)
	if err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestReadTokenNoPlace(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "file")
	dangling := filepath.Join(folder, "dangling")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(folder, "elsewhere"), dangling); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ path, want string }{
		"no name":           {"", "set admin.token_file"},
		"folder":            {folder, "is not a file"},
		"below a file":      {filepath.Join(file, "admin-token"), "not a directory"},
		"link to nowhere":   {dangling, "no such file"},
		"folder not for us": {"/proc/patchbay/admin-token", "set admin.token_file to a file that can be written"},
		"something to run":  {"/dev/null", "is not a file"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := admin.ReadToken(tc.path)
			if err == nil || got != "" || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %q, %v; want an error with %q", got, err, tc.want)
			}
		})
	}
	if _, err := os.Lstat(filepath.Join(folder, "elsewhere")); err == nil {
		t.Error("a token was made where a link points")
	}
}
