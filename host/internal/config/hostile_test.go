package config_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/config"
)

// Files that are made to cost as much as they can. What is asserted is the memory they may take; a
// cost that grows with the square of the file would make the test hang.
func TestHostileFiles(t *testing.T) {
	some := func(n int, head, format string) string {
		var b strings.Builder
		b.WriteString(head)
		for i := 0; i < n && b.Len() < 100_000; i++ {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	repeat := func(head, format string) string { return some(1<<20, head, format) }
	plugin := "plugins:\n- name: p\n  source: p.wasm\n  routes: [\"GET /p\"]\n  config:\n"
	for name, text := range map[string]string{
		"unknown keys":      repeat("", "k%d: 1\n"),
		"most upstreams":    some(1_500, "upstreams:\n", " a%d: {}\n"),
		"most references":   some(1_500, "upstreams:\n a: {endpoints: [\"demo:search\"]}\nsecrets:\n", " s%d: {env: A, upstream: bbbbbbbbbbbbbbbbbbbbbbbb}\n"),
		"most mismatches":   some(1_500, "upstreams:\n", " a%d: 5\n"),
		"most both":         some(700, "upstreams:\n", " a%[1]d: {auth: {secret: s%[1]d}}\n") + some(700, "secrets:\n", " s%[1]d: {env: A, upstream: b%[1]d}\n"),
		"most plugins":      some(700, "plugins:\n", "- {name: a%[1]d, source: a, routes: [GET /a%[1]d], config: {endpoint: upstream://a}}\n"),
		"most grants":       some(1_000, "plugins:\n- name: a\n  source: a\n  routes: [GET /a]\n  config: {endpoint: upstream://a}\n  grant:\n   fetch:\n", "   - {host: h%d, methods: [GET], paths: [/]}\n"),
		"plugins":           repeat("plugins:\n", "- {name: a%d}\n"),
		"empty plugins":     "plugins:\n" + strings.Repeat("-\n", 100_000),
		"one key":           strings.Repeat("log:\n", 30_000),
		"flow nesting":      "log: " + strings.Repeat("[", 9_999),
		"deeper nesting":    "log: " + strings.Repeat("[", 500_000),
		"mapping nesting":   "log: " + strings.Repeat("{a: ", 250_000),
		"block nesting":     strings.Repeat("- ", 500_000),
		"long keys":         plugin + repeat("", "    "+strings.Repeat("k", 127)+": &a%d {x: 1}\n"),
		"wide alias":        plugin + "    a: &a [" + strings.Repeat("1,", 15_000) + "]\n    b: [" + strings.Repeat("*a,", 100_000) + "]\n",
		"wide merge":        plugin + "    a: &a {" + repeat("", "k%d: ,")[:100_000] + "}\n    b: {<<: [" + strings.Repeat("*a,", 100_000) + "]}\n",
		"long text aliased": plugin + "    a: &a " + strings.Repeat("x", 200_000) + "\n    b: [" + strings.Repeat("*a,", 40_000) + "]\n",
		"long scalar":       "cache_dir: " + strings.Repeat("$", 1_000_000) + "\n",
		"open references":   "cache_dir: " + strings.Repeat("${", 500_000) + "\n",
		"routes":            repeat("plugins:\n- name: p\n  source: p.wasm\n  routes:\n", "  - GET /x{%d\n"),
		"long route":        "plugins:\n- name: p\n  source: p.wasm\n  routes: [\"GET " + strings.Repeat("/a", 500_000) + "\"]\n",
		"long url":          "upstreams: {a: {endpoints: [\"" + strings.Repeat("http://", 50_000) + "\"]}}\n",
		"anchors":           repeat(plugin, "    k%d: &a b\n"),
	} {
		t.Run(name, func(t *testing.T) {
			file := write(t, text)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := config.Load(config.Options{File: file})
			runtime.ReadMemStats(&after)
			if got := after.TotalAlloc - before.TotalAlloc; got > 512<<20 {
				t.Errorf("%d MiB were allocated on the way", got>>20)
			}
			if err != nil && len(err.Error()) > 1<<20 {
				t.Errorf("the report is %d bytes long", len(err.Error()))
			}
		})
	}
}

// Past a thousand problems the report says how many there are more.
func TestReportIsBounded(t *testing.T) {
	list := problems(t, config.Options{File: write(t, "server:\n"+strings.Repeat(" zebra: 1\n", 1200))})
	last := list[len(list)-1]
	if len(list) != 1001 || last.Message != "and 1399 more problems" {
		t.Errorf("got %d problems, the last one %v", len(list), last)
	}
}
