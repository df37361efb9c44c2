package config_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/config"
)

// Whatever the file holds, Load returns a configuration that can be shown, or problems that say
// where they are; and never the value of a variable that holds a secret.
func FuzzLoad(f *testing.F) {
	seeds, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(seeds) == 0 {
		f.Fatal("no seeds", err)
	}
	shipped, err := filepath.Glob(configs + "*.yaml")
	if err != nil || len(shipped) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, name := range append(seeds, shipped...) {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	environ := badEnviron()
	f.Fuzz(func(t *testing.T, text []byte) {
		if strings.Contains(string(text), secretValue) {
			return // it is allowed to show what the file itself says
		}
		file := write(t, string(text))
		c, err := config.Load(config.Options{File: file, Environ: environ})
		if err == nil {
			if _, err := json.Marshal(c.Redacted()); err != nil {
				t.Errorf("it cannot be shown: %v", err)
			}
			return
		}
		var list config.Errors
		if c != nil || !errors.As(err, &list) || len(list) == 0 {
			t.Fatalf("Load = %v, %v", c, err)
		}
		lines := strings.Count(string(text), "\n") + strings.Count(string(text), "\r") + strings.Count(string(text), "\u2028") + strings.Count(string(text), "\u2029") + strings.Count(string(text), "\u0085") + 1
		for _, p := range list {
			if p.File != file || p.Message == "" || p.Line > lines+1 {
				t.Errorf("a problem without a place: %+v", p)
			}
			if strings.Contains(p.String(), secretValue) {
				t.Errorf("a secret is shown: %v", p)
			}
		}
	})
}
