package config_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
)

const (
	hash  = "sha256:tu5jqmkb:AAECAwQFBgcICQoLDA0ODw:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
	other = "sha256:aaaaaaaa:AAECAwQFBgcICQoLDA0ODw:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
)

// A file of keys is read as the section of the configuration is: as strictly, and with the line of each mistake.
func TestLoadKeys(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []config.Key
		bad  []string // each a line of the error, behind the file's name
	}{
		"empty":    {text: "", want: []config.Key{}},
		"comments": {text: "# none yet\n", want: []config.Key{}},
		"no keys":  {text: "keys:\n", want: []config.Key{}},
		"two": {text: "keys:\n- {name: web, hash: " + hash + ", routes: ['*'], expires: 2027-01-31}\n- {name: \"${NAME}\", hash: \"" + other + "\", routes: [GET /a/*], disabled: true}\n",
			want: []config.Key{{Name: "web", Hash: hash, Routes: []string{"*"}, Expires: "2027-01-31"}, {Name: "batch", Hash: other, Routes: []string{"GET /a/*"}, Disabled: true}}},
		"a list":    {text: "- name: web\n", bad: []string{"1: want keys such as keys, got a list"}},
		"a section": {text: "auth:\n  required: false\n", bad: []string{"1: auth: unknown key; known here: keys"}},
		"required":  {text: "required: false\nkeys: 5\n", bad: []string{"1: required: unknown key; known here: keys", "2: keys: want a list, got 5"}},
		"an entry": {text: "keys:\n- name: web\n  hash: " + hash + "\n  scopes: ['*']\n", bad: []string{
			"2: keys[0].routes: routes left out allow none", "4: keys[0].scopes: unknown key; known here: name, hash, routes, expires, disabled"}},
		"syntax":  {text: "keys: [\n", bad: []string{"did not find"}},
		"nothing": {bad: []string{"there is no such file"}},
	} {
		t.Run(name, func(t *testing.T) {
			file := "nowhere.yaml"
			if name != "nothing" {
				file = write(t, c.text)
			}
			got, err := config.LoadKeys(file, []string{"NAME=batch"})
			if c.bad == nil {
				if err != nil || !reflect.DeepEqual(got, c.want) {
					t.Errorf("%+v, %v; want %+v", got, err, c.want)
				}
				return
			}
			var list config.Errors
			if !errors.As(err, &list) || len(list) != len(c.bad) {
				t.Fatalf("%v, want %d problems", err, len(c.bad))
			}
			for i, p := range list {
				if !strings.Contains(p.String(), c.bad[i]) || !strings.HasPrefix(p.String(), file) {
					t.Errorf("%q is not %q", p, c.bad[i])
				}
			}
		})
	}
}

func TestScopePattern(t *testing.T) {
	for scope, want := range map[string]string{
		"*":                     "",
		"GET /":                 "GET /{$}",
		"GET /*":                "GET /",
		"POST /api/inference/*": "POST /api/inference/",
		"GET /a/{id}":           "GET /a/{id}",
		"GET /a/{id}/*":         "GET /a/{id}/",
		"GET /a/{rest...}":      "GET /a/{rest...}",
		"":                      "error",
		"*/":                    "error",
		"/*":                    "error",
		"GET *":                 "error",
		"GET":                   "error",
		"GET /a*":               "error",
		"GET //*":               "error",
		"get /a":                "error",
		"GET host/*":            "error",
		"GET /a/../*":           "error",
	} {
		got, err := config.ScopePattern(scope)
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("ScopePattern(%q) = %q, %v; want %q", scope, got, err, want)
		}
	}
}

func TestParseExpiry(t *testing.T) {
	for text, want := range map[string]time.Time{
		"2027-01-31":                time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC),
		"2027-01-31T18:00:00Z":      time.Date(2027, 1, 31, 18, 0, 0, 0, time.UTC),
		"2027-01-31T18:00:00+02:00": time.Date(2027, 1, 31, 16, 0, 0, 0, time.UTC),
		"2027-01-31T18:00:00":       {},
		"31.1.2027":                 {},
		"2027-02-29":                {},
		"90d":                       {},
	} {
		got, err := config.ParseExpiry(text)
		if !got.Equal(want) || (err != nil) != want.IsZero() {
			t.Errorf("ParseExpiry(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
}
