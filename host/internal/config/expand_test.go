package config_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/config"
)

// A plugin's own configuration shows what an expanded value became, its type included.
func TestExpansion(t *testing.T) {
	environ := []string{
		"N=5", "F=0.5", "B=true", "S=text", "E=", "NULL=null", "DATE=2020-01-01",
		"YAML={a: 1, b: [2]}", "LINES=one\ntwo: 3", "HASH=a # b", "STAR=*x", "REF=${S}", "N=6",
	}
	for written, want := range map[string]any{
		`${N}`:                    5,
		`"${N}"`:                  "5",
		`'${N}'`:                  "5",
		`!!str ${N}`:              "5",
		`${N}${N}`:                55,
		`${F}`:                    0.5,
		`${B}`:                    true,
		`${S}`:                    "text",
		`a${S}b`:                  "atextb",
		`${NULL}`:                 nil,
		`${DATE}`:                 "2020-01-01",
		`${E}`:                    "",
		`${E:-}`:                  "",
		`${E:-7}`:                 7,
		`${UNSET:-7}`:             7,
		`"${UNSET:-}"`:            "",
		`${UNSET:-demo:gpustack}`: "demo:gpustack",
		`${UNSET:-$S}`:            "$S",
		`$$`:                      "$",
		`$${S}`:                   "${S}",
		`$$$${S}`:                 "$${S}",
		`$S`:                      "$S",
		`^a$`:                     "^a$",
		`${YAML}`:                 "{a: 1, b: [2]}",
		`${LINES}`:                "one\ntwo: 3",
		`${HASH}`:                 "a # b",
		`${STAR}`:                 "*x",
		`${REF}`:                  "${S}",
		`["${S}", {x: "${N}"}]`:   []any{"text", map[string]any{"x": "5"}},
		"|\n      ${S}":           "text\n",
	} {
		c := load(t, "plugins:\n  - name: p\n    source: p.wasm\n    routes: [\"GET /p\"]\n    config:\n     value: "+written+"\n", environ...)
		if got := c.Plugins[0].Config["value"]; !reflect.DeepEqual(got, want) {
			t.Errorf("%s became %#v, want %#v", written, got, want)
		}
	}
}

// An unquoted variable fits any type of setting; text stays text, whatever it looks like.
func TestExpansionIntoSettings(t *testing.T) {
	c := load(t, `
server: {max_conns: 1}
cache_dir: ${DIGITS}
admin:
  token_file: ${EMPTY:-}
client:
  max_conns: ${N:-5}
  idle_timeout: ${D:-7s}
demo:
  error_rate: ${RATE:-0.25}
upstreams:
  a:
    endpoints: ["${URL:-demo:search}"]
    private: ${YES:-true}
plugins:
  - name: p
    source: p.wasm
    routes: ["GET /p"]
    workers: ${W:-2}
    limits:
      memory: ${M:-3145728}
`, "DIGITS=0755", "EMPTY=")
	if c.CacheDir != "0755" || c.Admin.TokenFile != "" || c.Client.MaxConns != 5 || c.Client.IdleTimeout.String() != "7s" ||
		c.Demo.ErrorRate != 0.25 || !c.Upstreams["a"].Private || c.Plugins[0].Workers != 2 || c.Plugins[0].Limits.Memory != 3*config.MiB {
		t.Errorf("got %+v", c)
	}
}

// Many references to a long variable are refused before they fill the memory.
func TestExpansionIsBounded(t *testing.T) {
	text := "cache_dir: " + strings.Repeat("${A}", 200_000) + "\n"
	list := problems(t, config.Options{File: write(t, text), Environ: []string{"A=" + strings.Repeat("x", 100_000)}})
	if len(list) != 1 || !strings.Contains(list[0].Message, "expand to more than 4MiB") {
		t.Errorf("got %.200v", list)
	}
	anchored := "plugins:\n  - name: p\n    source: p.wasm\n    routes: [\"GET /p\"]\n    config:\n      a: &a ${A}\n      b: [" + strings.Repeat("*a, ", 1000) + "]\n"
	list = problems(t, config.Options{File: write(t, anchored), Environ: []string{"A=" + strings.Repeat("x", 100_000)}})
	if len(list) != 1 || !strings.Contains(list[0].Message, "expand to more than 4MiB") {
		t.Errorf("got %.200v", list)
	}
}
