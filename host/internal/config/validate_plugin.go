package config

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// maxWorkers bounds the instances of one plugin: each has its own memory.
const maxWorkers = 1024

// maxInstances: each takes about four of the mappings that a process may have, which on Linux are 65,530.
const maxInstances = 10_000

func (v *validator) plugins() {
	names := map[string]path{}
	routes := map[string]path{}
	for i := range v.Plugins {
		p, plugin := path{"plugins"}.index(i), &v.Plugins[i]
		v.pluginName(p.key("name"), plugin.Name, names)
		if plugin.Source == "" {
			v.fault(p.key("source"), "a plugin needs a source: the path of its .wasm")
		}
		if d := p.key("digest"); plugin.Digest != "" && !isDigest(plugin.Digest) {
			v.fault(d, "want sha256: and 64 hexadecimal digits in lower case, got %s", v.text(d, plugin.Digest))
		}
		if len(plugin.Routes) == 0 {
			v.fault(p.key("routes"), `routes left out answer none: add routes: ["POST /api/…"]`)
		}
		for j, r := range plugin.Routes {
			v.route(p.key("routes").index(j), r, routes)
		}
		if w := p.key("workers"); plugin.Workers != Auto && (plugin.Workers < 1 || plugin.Workers > maxWorkers) {
			v.fault(w, "want 1 to %d, or auto, got %d", maxWorkers, int(plugin.Workers))
		}
		v.oneOf(p.key("isolation"), plugin.Isolation, "shared", "fresh")
		v.oneOf(p.key("start"), plugin.Start, "snapshot", "plain")
		v.limits(p.key("limits"), plugin.Limits)
		v.recycle(p.key("recycle"), plugin.Recycle)
		v.grant(p.key("grant"), plugin.Grant)
		v.endpoints(p, plugin)
	}
	v.cached()
}

// cached wants what the plugins may keep to fit together: nobody's part is lent to others.
func (v *validator) cached() {
	var sum Bytes
	for i := range v.Plugins {
		p, n := path{"plugins"}.index(i).key("grant", "cache"), v.Plugins[i].Grant.Cache
		if n == 0 {
			continue
		}
		before := sum
		switch sum += n; {
		case n < 64*KiB || n > v.Cache.Memory:
			v.size(p, n, 64*KiB, v.Cache.Memory)
		case sum > v.Cache.Memory && before <= v.Cache.Memory && v.known(path{"cache", "memory"}):
			v.fault(p, "with this the plugins may keep %v, over the %v of cache.memory: raise that, or give them less", sum, v.Cache.Memory)
		}
	}
}

// pluginName wants a name that no plugin before has.
func (v *validator) pluginName(p path, name string, taken map[string]path) {
	if !isPluginName(name) {
		v.fault(p, "want a name of lower-case letters, digits and dashes that begins with a letter, got %s", v.text(p, name))
		return
	}
	if first, ok := taken[name]; ok {
		v.fault(p, "the name %s is taken by %s", shown(name), first[:len(first)-1])
		return
	}
	taken[name] = p
}

// isPluginName reports whether s is [a-z][a-z0-9-]* of a bounded length.
func isPluginName(s string) bool {
	return s != "" && len(s) <= 64 && s[0] >= 'a' && s[0] <= 'z' &&
		!strings.ContainsFunc(s, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' })
}

// isDigest reports whether s is sha256: and 64 digits.
func isDigest(s string) bool {
	digits, ok := strings.CutPrefix(s, "sha256:")
	return ok && len(digits) == 64 && strings.Trim(digits, "0123456789abcdef") == ""
}

func (v *validator) limits(p path, l Limits) {
	v.size(p.key("memory"), l.Memory, 2*MiB, 4095*MiB)
	if l.Stack < 64*KiB || l.Stack > 32*MiB {
		v.fault(p.key("stack"), "want 64KiB to 32MiB, past which the bound of the engine itself comes first, got %v", l.Stack)
	}
	v.positive(p.key("cpu"), l.CPU)
	v.positive(p.key("timeout"), l.Timeout)
	v.number(p.key("in_flight"), int64(l.InFlight), 1, maxCount)
	v.number(p.key("fetches"), int64(l.Fetches), 1, maxCount)
	v.size(p.key("answer"), l.Answer, 1, 4*GiB)
	v.number(p.key("instances"), int64(l.Instances), 1, maxInstances)
	v.size(p.key("headers"), l.Headers, KiB, 64*KiB)
	v.number(p.key("log"), int64(l.Log), 1, maxCount)
	v.number(p.key("events"), int64(l.Events), 1, maxCount)
}

func (v *validator) recycle(p path, r Recycle) {
	v.number(p.key("requests"), int64(r.Requests), 0, maxCount)
	if r.Age != 0 && r.Age < time.Second {
		v.fault(p.key("age"), "want 0, which is never, or a time such as 12h, at least 1s, got %v", r.Age)
	}
}

// route wants "METHOD /path", not one of the host's own, and not taken by another entry.
func (v *validator) route(p path, route string, taken map[string]path) {
	method, pattern, err := splitRoute(route)
	switch {
	case err != nil:
		v.fault(p, "%v, got %s", err, v.text(p, route))
		return
	case isReserved(method, pattern):
		v.fault(p, "%s is answered by the server itself", shown(route))
		return
	}
	// Two patterns that differ in the names of their parameters only match the same requests.
	var same strings.Builder
	same.WriteString(method)
	for segment := range strings.SplitSeq(pattern, "/") {
		if strings.HasPrefix(segment, "{") {
			segment = "{}" + strings.Repeat("*", strings.Count(segment, "...}"))
		}
		same.WriteString("/" + segment)
	}
	if first, ok := taken[same.String()]; ok {
		v.fault(p, "the route %s is taken by %s", shown(route), first)
		return
	}
	taken[same.String()] = p
}

// splitRoute parses "METHOD /path". A path is made of plain segments and parameters: {name} for
// one segment, {name...} for all that follow.
func splitRoute(route string) (method, pattern string, err error) {
	method, pattern, ok := strings.Cut(route, " ")
	methods := []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
	if !ok || !strings.HasPrefix(pattern, "/") {
		return "", "", fmt.Errorf(`want a method and a path, as in "POST /api/tools/search"`)
	}
	if !slices.Contains(methods, method) {
		return "", "", fmt.Errorf("want the method to be %s", alternatives(methods))
	}
	if pattern == "/" {
		return method, pattern, nil
	}
	segments := strings.Split(pattern[1:], "/")
	seen := map[string]bool{}
	for i, segment := range segments {
		name, rest := parameter(segment)
		switch {
		case segment == "":
			return "", "", fmt.Errorf("want a path without empty segments; {rest...} at the end takes all that follows")
		case name == "" && (segment == "." || segment == ".." || strings.ContainsAny(segment, " \t{}?#%*\\")):
			return "", "", fmt.Errorf("want plain segments and parameters such as {id}")
		case name != "" && seen[name]:
			return "", "", fmt.Errorf("want each parameter once")
		case rest && i < len(segments)-1:
			return "", "", fmt.Errorf("want {%s...} at the end only", name)
		}
		seen[name] = true
	}
	return method, pattern, nil
}

// parameter returns the name in {name} or {name...}; "" for a plain segment.
func parameter(segment string) (name string, rest bool) {
	inner, opened := strings.CutPrefix(segment, "{")
	inner, closed := strings.CutSuffix(inner, "}")
	inner, rest = strings.CutSuffix(inner, "...")
	if !opened || !closed || !isVariable(inner) {
		return "", false
	}
	return inner, rest
}

// isReserved reports whether the server answers the route itself.
func isReserved(method, pattern string) bool {
	switch pattern {
	case "/":
		return method == "GET" || method == "HEAD"
	case "/config.js", "/api/health", "/api/metrics", "/api/live", "/livez", "/readyz":
		return true
	}
	return false
}
