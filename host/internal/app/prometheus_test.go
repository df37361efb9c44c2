package app_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/guesttest"
)

// promtool runs it with what it is to read; it skips the test where it is not installed, but in CI.
func promtool(t *testing.T, in string, args ...string) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("promtool is missing: it is in Debian's package prometheus")
		}
		t.Skip("promtool is not installed")
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Stdin = strings.NewReader(in)
	// What it only warns of goes to its output, and its status is 0 or 3.
	if out, err := cmd.CombinedOutput(); err != nil || args[1] == "metrics" && len(out) > 0 {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func shipped(name string) string { return filepath.Join(guesttest.Root(), "configs", name) }

// scraped is an answer of /metrics: the labels of each metric, by its name.
type scraped struct {
	text   string
	labels map[string][]string
}

func (p *patchbay) scrape() scraped {
	p.Helper()
	s := scraped{string(p.admins("/metrics").body), map[string][]string{}}
	for line := range strings.Lines(s.text) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		name, _, _ := strings.Cut(line, " ")
		name, _, _ = strings.Cut(name, "{")
		known := append(s.labels[name], "instance", "job")
		for _, l := range regexp.MustCompile(`[{,]([a-z_]+)="`).FindAllStringSubmatch(line, -1) {
			known = append(known, l[1])
		}
		s.labels[name] = slices.Compact(slices.Sorted(slices.Values(known)))
	}
	return s
}

// value is that of one series, as it is written.
func (s scraped) value(series string) string {
	_, rest, ok := strings.Cut(s.text, "\n"+series+" ")
	if !ok {
		return "none"
	}
	value, _, _ := strings.Cut(rest, "\n")
	return value
}

// TestPrometheus: what a server tells after it has seen traffic of all kinds keeps Prometheus' conventions, adds up, and goes on
// counting when plugins are swapped.
func TestPrometheus(t *testing.T) {
	s := setup{top: "demo: {token_gap: 1ms}", cache: "1MiB"}
	p := serve(t, s)
	const searches = 20
	each(searches, func(i int) { p.ok("POST", "/api/tools/search", searchBody(fmt.Sprint("trains ", i%5))) })
	p.ok("GET", "/api/models", "")
	p.stream(chatBody("demo-chat", "hi")).words()
	p.do("POST", "/api/tools/search", `{"q":""}`)
	p.do("GET", "/nowhere", "")
	p.health()
	want := func(when string, series map[string]string) {
		t.Helper()
		var got scraped
		for name, value := range series {
			eventually(t, fmt.Sprintf("%s: %s is %s", when, name, value), func() bool {
				got = p.scrape()
				return got.value(name) == value
			})
		}
	}
	counts := map[string]string{
		`patchbay_http_requests_total{code="200",method="POST",route="POST /api/tools/search"}`:           fmt.Sprint(searches),
		`patchbay_http_requests_total{code="422",method="POST",route="POST /api/tools/search"}`:           "1",
		`patchbay_http_requests_total{code="404",method="GET",route="unmatched"}`:                         "1",
		`patchbay_http_request_duration_seconds_count{route="POST /api/tools/search"}`:                    fmt.Sprint(searches + 1),
		`patchbay_http_response_head_seconds_count{route="POST /api/tools/search"}`:                       fmt.Sprint(searches + 1),
		`patchbay_plugin_requests_total{plugin="search"}`:                                                 fmt.Sprint(searches + 1),
		`patchbay_plugin_swaps_total{plugin="search"}`:                                                    "0",
		`patchbay_plugin_up{plugin="search"}`:                                                             "1",
		`patchbay_upstream_call_duration_seconds_count{upstream="demo-search"}`:                           "5",
		`patchbay_cache_misses_total{plugin="search"}`:                                                    p.scrape().value(`patchbay_cache_misses_total{plugin="search"}`),
		`patchbay_config_last_reload_successful`:                                                          "1",
		`patchbay_http_in_flight_requests`:                                                                "0",
		fmt.Sprintf(`patchbay_build_info{goversion=%q,revision="abc",version="test"}`, runtime.Version()): "1",
	}
	want("after traffic", counts)
	promtool(t, p.scrape().text, "check", "metrics")

	before := p.scrape().value(`patchbay_plugin_cpu_seconds_total{plugin="search"}`)
	s.search = "max_results: 3"
	p.swapIn(s, "the swap", func() bool { return p.scrape().value(`patchbay_plugin_swaps_total{plugin="search"}`) == "1" })
	p.ok("POST", "/api/tools/search", searchBody("after the swap"))
	want("after a swap", map[string]string{
		`patchbay_plugin_requests_total{plugin="search"}`: fmt.Sprint(searches + 2),
		`patchbay_plugin_swaps_total{plugin="models"}`:    "0",
	})
	if after := p.scrape().value(`patchbay_plugin_cpu_seconds_total{plugin="search"}`); number(t, after) <= number(t, before) {
		t.Errorf("the plugin has computed for %s s after a swap and %s s before", after, before)
	}

	// The document says the same.
	m := decode[struct {
		Routes []struct {
			Route    string
			Requests int
		}
		Plugins []struct {
			Plugin   string
			Requests int
		}
	}](t, p.ok("GET", "/api/metrics", ""))
	found := 0
	for _, r := range m.Routes {
		if r.Route == "POST /api/tools/search" && r.Requests == searches+2 {
			found++
		}
	}
	for _, r := range m.Plugins {
		if r.Plugin == "search" && r.Requests == searches+2 {
			found++
		}
	}
	if found != 2 {
		t.Errorf("/api/metrics says %+v", m)
	}

	s.search = "max_results: many"
	replace(t, p.file, s.yaml(t)+"nonsense: 1\n")
	want("with a broken configuration", map[string]string{`patchbay_config_last_reload_successful`: "0"})

	eventually(t, "the capacity is estimated", func() bool { return p.scrape().labels["patchbay_capacity_bound_utilization_ratio"] != nil })
	t.Run("dashboard", func(t *testing.T) { checkExpressions(t, p.scrape(), dashboard(t)) })
	t.Run("alerts", func(t *testing.T) {
		promtool(t, "", "check", "rules", shipped("alerts.yml"))
		promtool(t, "", "test", "rules", shipped("alerts_test.yml"))
		promtool(t, "", "check", "config", "--syntax-only", shipped("prometheus.yml"))
		text, err := os.ReadFile(shipped("alerts.yml"))
		if err != nil {
			t.Fatal(err)
		}
		checkExpressions(t, p.scrape(), []string{strings.ReplaceAll(regexp.MustCompile(`(?m)^ *(#|- alert:|for:|labels:|annotations:|summary:).*$`).ReplaceAllString(string(text), ""), "up{", "patchbay_build_info{")})
	})
}

func number(t *testing.T, s string) (v float64) {
	t.Helper()
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	return v
}

// dashboard gives the expressions of the dashboard's panels, and checks that promtool can read each.
func dashboard(t *testing.T) (all []string) {
	t.Helper()
	text, err := os.ReadFile(shipped("grafana-dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels []struct {
			Title, Description, Type string
			ID                       int
			Targets                  []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	ids := map[int]bool{}
	rules := "groups:\n- name: dashboard\n  rules:\n"
	for _, panel := range d.Panels {
		if ids[panel.ID] {
			t.Errorf("two panels have the id %d", panel.ID)
		}
		ids[panel.ID] = true
		if panel.Type != "row" && (panel.Title == "" || panel.Description == "" || len(panel.Targets) == 0) {
			t.Errorf("panel %d has no title, no description or nothing to show: %+v", panel.ID, panel)
		}
		for _, target := range panel.Targets {
			expr := strings.NewReplacer("$__rate_interval", "5m", "$instance", ".*").Replace(target.Expr)
			all = append(all, expr)
			rules += fmt.Sprintf("  - record: dashboard:panel_%d_%d\n    expr: %q\n", panel.ID, len(all), expr)
		}
	}
	file := filepath.Join(t.TempDir(), "rules.yml")
	write(t, file, rules)
	promtool(t, "", "check", "rules", file)
	return all
}

// checkExpressions says which metrics and labels of the expressions the server does not have.
func checkExpressions(t *testing.T, s scraped, all []string) {
	t.Helper()
	seen := 0
	for _, expr := range all {
		for _, m := range regexp.MustCompile(`((?:patchbay|process|go)_[a-z0-9_]+)(?:\{([^}]*)\})?`).FindAllStringSubmatch(expr, -1) {
			seen++
			labels, ok := s.labels[m[1]]
			if !ok {
				t.Errorf("the server tells nothing of %s, in %s", m[1], expr)
			}
			for _, l := range regexp.MustCompile(`([a-z_]+)(?:=~|!~|!=|=)"`).FindAllStringSubmatch(m[2], -1) {
				if ok && !slices.Contains(labels, l[1]) {
					t.Errorf("%s has no label %s, in %s", m[1], l[1], expr)
				}
			}
			if len(all) == 1 { // a file with many expressions
				continue
			}
			for _, by := range regexp.MustCompile(`by \(([a-z_, ]+)\)`).FindAllStringSubmatch(expr, -1) {
				for l := range strings.SplitSeq(by[1], ", ") {
					if ok && l != "class" && !slices.Contains(labels, l) {
						t.Errorf("%s has no label %s, in %s", m[1], l, expr)
					}
				}
			}
		}
	}
	if seen == 0 {
		t.Error("there are no metrics in the expressions")
	}
}
