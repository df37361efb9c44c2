package keys_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/keys"
)

// TestAppendAtOnce: of many commands that change a file at the same time, each one's key is in it, and who reads it meanwhile
// never finds half a file.
func TestAppendAtOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys.yaml")
	_, first := made("first")
	if err := keys.Append(file, nil, first); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			_, k := made(fmt.Sprint("k", i), "GET /api/models")
			err := keys.Append(file, nil, k)
			for end := time.Now().Add(time.Minute); err != nil && strings.Contains(err.Error(), ".lock is there") && time.Now().Before(end); {
				err = keys.Append(file, nil, k) // a command waits for 3 s; on a slow machine its turn may come later
			}
			if err != nil {
				t.Error(err)
			}
			if list, err := config.LoadKeys(file, nil); err != nil || len(list) < 2 {
				t.Errorf("%d keys, %v", len(list), err)
			}
		})
	}
	all.Wait()
	list, err := config.LoadKeys(file, nil)
	if err != nil || len(list) != 21 {
		t.Errorf("%d keys, %v", len(list), err)
	}
	if left, _ := os.ReadDir(filepath.Dir(file)); len(left) != 1 {
		t.Errorf("%v is left", left)
	}
}

// TestFilesOfOthers: files that somebody wrote by hand, in all styles.
func TestFilesOfOthers(t *testing.T) {
	_, old := made("old")
	_, k := made("new")
	flow := strings.TrimPrefix(strings.TrimSpace(entry(old)), "- ")
	for name, c := range map[string]struct{ text, bad string }{
		"block":              {text: "keys:\n" + entry(old)},
		"flow":               {text: "{keys: [" + flow + "]}"},
		"a list in one":      {text: "keys: [" + flow + "]\n"},
		"another document":   {text: "---\nkeys:\n" + entry(old) + "...\n"},
		"windows":            {text: "keys:\r\n" + strings.ReplaceAll(entry(old), "\n", "\r\n")},
		"no line at the end": {text: strings.TrimSuffix("keys:\n"+entry(old), "\n")},
		"null":               {text: "keys:\n"},
		"comment alone":      {text: "# none"},
		"a variable":         {text: "keys:\n" + strings.Replace(entry(old), "name: old", "name: \"${NAME}\"", 1)},
		"merged":             {text: "keys:\n- &a " + flow + "\n- {<<: *a, name: other}\n", bad: "is taken by"},
		"the name taken":     {text: "keys:\n" + strings.Replace(entry(old), "name: old", "name: \"${NEW}\"", 1), bad: "stays as it was, because it would not load"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "keys.yaml")
			if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			environ := []string{"NAME=old", "NEW=new"}
			err := keys.Append(file, environ, k)
			if c.bad != "" {
				if err == nil || !strings.Contains(err.Error(), c.bad) {
					t.Errorf("%v, want %s", err, c.bad)
				}
				if b, _ := os.ReadFile(file); string(b) != c.text {
					t.Errorf("it is changed: %s", b)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if again, err := keys.Revoke(file, environ, "new"); again || err != nil {
				t.Error(again, err)
			}
			list, err := config.LoadKeys(file, environ)
			want := 2
			if !strings.Contains(c.text, "hash") {
				want = 1
			}
			if err != nil || len(list) != want {
				b, _ := os.ReadFile(file)
				t.Fatalf("%v, %v\n%s", list, err, b)
			}
			if last := list[len(list)-1]; last.Name != "new" || !last.Disabled || last.Hash != k.Hash {
				t.Errorf("%+v", last)
			}
			if want == 2 && (list[0].Name != "old" || list[0].Hash != old.Hash || list[0].Disabled) {
				t.Errorf("%+v", list[0])
			}
		})
	}
}
