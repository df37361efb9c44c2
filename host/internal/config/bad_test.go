package config_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/config"
)

var update = flag.Bool("update", false, "write testdata/*.bad.txt anew; read the difference before you keep it")

// secretValue stands in variables and URLs of testdata. No message may show it.
const secretValue = "s3cret-value"

// badEnviron is what the files of testdata find in their ${VAR}.
func badEnviron() []string {
	return []string{
		"KEY=" + secretValue,
		"NUMBER=5",
		"TEXT=many",
		"EMPTY=",
		"INJECTED=info\nformat: json",
	}
}

// Each testdata/NAME.bad.yaml is refused with the problems in NAME.bad.txt, one a line, in order,
// the file's name left out.
func TestBadFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/*.bad.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no testdata", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".bad.yaml"), func(t *testing.T) {
			c, err := config.Load(config.Options{File: file, Environ: badEnviron()})
			var problems config.Errors
			if c != nil || !errors.As(err, &problems) {
				t.Fatalf("Load = %v, %v; want no configuration and Errors", c, err)
			}
			got := strings.ReplaceAll(err.Error(), file+":", "") + "\n"
			if dir, err := os.Getwd(); err == nil {
				got = strings.ReplaceAll(got, dir, "FOLDER")
			}
			if strings.Contains(got, secretValue) {
				t.Errorf("a message shows a secret:\n%s", got)
			}
			expected := strings.TrimSuffix(file, ".yaml") + ".txt"
			if *update {
				if err := os.WriteFile(expected, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(expected)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

// The issue's own words: a configuration with ten mistakes reports ten mistakes.
func TestTenMistakesAreTenProblems(t *testing.T) {
	_, err := config.Load(config.Options{File: "testdata/ten.bad.yaml"})
	var problems config.Errors
	if !errors.As(err, &problems) || len(problems) != 10 {
		t.Fatalf("want ten problems, got:\n%v", err)
	}
	for i, p := range problems {
		if p.File != "testdata/ten.bad.yaml" || p.Line == 0 || p.Path == "" || p.Message == "" {
			t.Errorf("problem %d does not say where it is: %+v", i+1, p)
		}
	}
}
