package config

import (
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

func (v *validator) grant(p path, g Grant) {
	for i := range g.Fetch {
		v.fetch(p.key("fetch").index(i), &g.Fetch[i])
	}
	v.publish(p.key("publish"), g.Publish)
	for i, header := range g.Headers {
		if at := p.key("headers").index(i); !isToken(header) {
			v.fault(at, "want the name of a header, got %s", v.text(at, header))
		}
	}
}

// maxTopics bounds what one plugin may have the server hold, and send to everybody who listens.
const maxTopics = 16

// publish wants topics that have names of their own.
func (v *validator) publish(p path, topics []Publish) {
	if len(topics) > maxTopics {
		v.fault(p, "want at most %d topics, got %d", maxTopics, len(topics))
	}
	for i, t := range topics {
		at := p.index(i).key("topic")
		switch {
		case !isName(t.Topic):
			v.fault(at, "want a name of lower-case letters and digits, with single dashes and underscores between them, got %s", v.text(at, t.Topic))
		case slices.ContainsFunc(topics[:i], func(o Publish) bool { return o.Topic == t.Topic }):
			v.fault(at, "the topic %s is there already", t.Topic)
		case t.Topic == "events" && t.Public:
			v.fault(p.index(i).key("public"), "events are for the operator alone; another topic may be public")
		}
	}
}

// fetch wants one host or one upstream, and at least one method and path.
func (v *validator) fetch(p path, f *Fetch) {
	upstream, host := p.key("upstream"), p.key("host")
	switch {
	case (f.Upstream == "") == (f.Host == ""):
		if v.known(upstream, host) {
			v.fault(p, "want exactly one of upstream and host")
		}
	case f.Upstream != "":
		v.fetchUpstream(p, f)
	default:
		v.fetchHost(p, f)
	}
	v.as(p, f.As, f.Secret)
	if len(f.Methods) == 0 {
		v.fault(p.key("methods"), "methods left out allow none: add methods: [GET]")
	}
	for i, m := range f.Methods {
		if at := p.key("methods").index(i); !isToken(m) || m != strings.ToUpper(m) {
			v.fault(at, "want a method in capitals, such as GET, got %s", v.text(at, m))
		}
	}
	if len(f.Paths) == 0 {
		v.fault(p.key("paths"), "paths left out allow none: add paths: [/search], or paths: [/] for all")
	}
	for i, allowed := range f.Paths {
		if at := p.key("paths").index(i); !isGrantPath(allowed) {
			v.fault(at, "want a path such as /v1/models, without query, *, . or .. and without a slash at its end, got %s", v.text(at, allowed))
		}
	}
}

// fetchUpstream judges a grant for a named upstream, which brings its own scheme, port and addresses.
func (v *validator) fetchUpstream(p path, f *Fetch) {
	known := v.upstreamName(p.key("upstream"), f.Upstream)
	for key, said := range map[string]bool{"scheme": f.Scheme != "", "port": f.Port != 0, "private": f.Private} {
		if said {
			v.fault(p.key(key), "%s goes with host; with upstream it is the upstream's own", key)
		}
	}
	if known {
		v.secretFor(p.key("secret"), f.Secret, f.Upstream)
	}
}

// fetchHost judges a grant for one host.
func (v *validator) fetchHost(p path, f *Fetch) {
	v.grantHost(p.key("host"), f.Host)
	v.oneOf(p.key("scheme"), f.Scheme, "https", "http")
	if f.Port != 0 {
		v.number(p.key("port"), int64(f.Port), 1, 65535)
	}
	if f.Secret == "" {
		return
	}
	at := p.key("secret")
	s, ok := v.secret(at, f.Secret)
	switch {
	case !ok:
	case !slices.ContainsFunc(s.Hosts, func(h string) bool { return MatchHost(f.Host, h) }):
		if v.known(p.key("host")) {
			if strings.HasPrefix(f.Host, "*.") {
				v.fault(at, "the secret %s is bound to no host that this line covers; add them one by one to hosts in secrets.%s", f.Secret, f.Secret)
				return
			}
			v.fault(at, "the secret %s is not bound to this host; add %s to hosts in secrets.%s", f.Secret, f.Host, f.Secret)
		}
	case f.Scheme == "http" && !s.Insecure:
		v.fault(at, "the secret %s would travel over plain http; use https, or say insecure: true in secrets.%s", f.Secret, f.Secret)
	}
}

// isGrantPath reports whether s is a path as a request has it, so that comparing texts is enough.
func isGrantPath(s string) bool {
	if s == "/" {
		return true
	}
	rest, ok := strings.CutPrefix(s, "/")
	if !ok || strings.ContainsAny(s, "?#*\\ \t\r\n") {
		return false
	}
	for segment := range strings.SplitSeq(rest, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return false
		}
	}
	return true
}

// endpoints wants a grant for every address in the plugin's own configuration: a key endpoint at
// any depth. Without this the first request would find out.
func (v *validator) endpoints(p path, plugin *Plugin) {
	if !v.whole(p.key("grant", "fetch")) {
		return
	}
	var walk func(p path, value any)
	walk = func(at path, value any) {
		switch value := value.(type) {
		case map[string]any:
			for _, key := range slices.Sorted(maps.Keys(value)) {
				if text, ok := value[key].(string); ok && key == "endpoint" && text != "" {
					v.covered(at.key(key), text, plugin.Grant.Fetch)
					continue
				}
				walk(at.key(key), value[key])
			}
		case []any:
			for i, item := range value {
				walk(at.index(i), item)
			}
		}
	}
	walk(p.key("config"), plugin.Config)
}

// covered wants a grant for an endpoint: upstream://name/… or a URL.
func (v *validator) covered(p path, endpoint string, grants []Fetch) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.Scheme != "upstream" && defaultPort(u.Scheme) == 0 || u.Port() != "" && !isPort(u.Port()) {
		v.fault(p, "want upstream://name, or an http:// or https:// URL, got %s", v.text(p, endpoint))
		return
	}
	if u.Scheme == "upstream" {
		if v.upstreamName(p, u.Host) && !slices.ContainsFunc(grants, func(f Fetch) bool { return f.Upstream == u.Host }) {
			v.fault(p, "no grant covers this endpoint; add to grant.fetch: {upstream: %s, methods: [GET, POST], paths: [%s]}", u.Host, grantPath(u))
		}
		return
	}
	host, port := strings.ToLower(u.Hostname()), defaultPort(u.Scheme)
	if u.Port() != "" {
		port, _ = strconv.Atoi(u.Port())
	}
	if !slices.ContainsFunc(grants, func(f Fetch) bool {
		return f.Host != "" && MatchHost(f.Host, host) && f.Scheme == u.Scheme && f.Port == port
	}) {
		v.fault(p, "no grant covers this endpoint; add to grant.fetch: {%s, methods: [GET, POST], paths: [%s]}", hostGrant(u.Scheme, host, port), grantPath(u))
	}
}

// hostGrant writes the part of a grant that names a host.
func hostGrant(scheme, host string, port int) string {
	grant := "host: " + host
	if strings.Contains(host, ":") {
		grant = "host: " + strconv.Quote(host)
	}
	if scheme != "https" {
		grant += ", scheme: " + scheme
	}
	if port != defaultPort(scheme) {
		grant += fmt.Sprintf(", port: %d", port)
	}
	addr, err := netip.ParseAddr(host)
	if host == "localhost" || err == nil && (addr.IsPrivate() || addr.IsLoopback()) {
		grant += ", private: true"
	}
	return grant
}

// grantPath is the path that a grant for an endpoint would name.
func grantPath(u *url.URL) string {
	if trimmed := strings.TrimRight(u.EscapedPath(), "/"); isGrantPath(trimmed) {
		return trimmed
	}
	return "/"
}
