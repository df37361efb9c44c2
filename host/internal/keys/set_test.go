package keys_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/keys"
)

// entry is a key as a file has it.
func entry(k config.Key) string {
	return "- {name: " + k.Name + ", hash: \"" + k.Hash + "\", routes: [\"" + strings.Join(k.Routes, `", "`) + "\"]}\n"
}

// TestRead: the keys of the configuration and those of its file are one set.
func TestRead(t *testing.T) {
	_, web := made("web")
	_, batch := made("batch", "GET /api/models")
	_, gone := made("gone")
	gone.Disabled = true
	_, old := made("old")
	old.Expires = "2026-11-23"
	twin := web
	twin.Name = "twin"
	namesake := batch
	namesake.Name = "web"
	file := filepath.Join(t.TempDir(), "keys.yaml")
	for _, c := range []struct {
		name   string
		inline []config.Key
		file   string // "" is none
		names  string
		usable int
		bad    string
	}{
		{name: "none"},
		{name: "both", inline: []config.Key{web, gone}, file: "keys:\n" + entry(batch), names: "web gone batch", usable: 2},
		{name: "only old ones", inline: []config.Key{gone, old}, names: "gone old"},
		{name: "an empty file", file: "# none\n"},
		{name: "the same name", inline: []config.Key{web}, file: "keys:\n" + entry(namesake), bad: `the name "web" is taken by a key in auth.keys`},
		{name: "the same key", inline: []config.Key{web}, file: "keys:\n" + entry(twin), bad: `key "twin": it is the same key as "web"`},
		{name: "a broken file", file: "keys:\n- name: web\n", bad: "keys.yaml:2: keys[0].hash: want a hash"},
		{name: "no file", file: "-", bad: "patchbay key new --file " + file},
		{name: "a folder", file: "/", bad: filepath.Dir(file) + " is not a file"},
		{name: "an unchecked hash", inline: []config.Key{{Name: "web", Hash: "x", Routes: []string{"*"}}}, bad: `key "web": want a hash`},
		{name: "an unchecked route", inline: []config.Key{{Name: "web", Hash: web.Hash, Routes: []string{"x"}}}, bad: `key "web": want a method`},
		{name: "an unchecked date", inline: []config.Key{{Name: "web", Hash: web.Hash, Routes: []string{"*"}, Expires: "x"}}, bad: `key "web": want a date`},
	} {
		t.Run(c.name, func(t *testing.T) {
			auth := config.KeyAuth{Keys: c.inline}
			_ = os.Remove(file)
			if c.file != "" {
				auth.KeysFile = file
			}
			if c.file == "/" {
				auth.KeysFile = filepath.Dir(file)
			}
			if len(c.file) > 1 {
				if err := os.WriteFile(file, []byte(c.file), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			set, err := keys.Read(auth, nil)
			if c.bad != "" {
				if err == nil || !strings.Contains(err.Error(), c.bad) {
					t.Errorf("%v, want %s", err, c.bad)
				}
				return
			}
			if err != nil || !slices.Equal(set.Names(), strings.Fields(c.names)) || set.Usable(now()) != c.usable || set.Required() {
				t.Errorf("%v, %v", set, err)
			}
		})
	}
}
