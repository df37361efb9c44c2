package config

import (
	"crypto/x509"
	"maps"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
)

// maxNamed bounds how many names a message lists.
const maxNamed = 20

func (v *validator) upstreams() {
	for _, name := range slices.Sorted(maps.Keys(v.Upstreams)) {
		p, u := path{"upstreams", name}, v.Upstreams[name]
		endpoints := p.key("endpoints")
		if len(u.Endpoints) == 0 {
			v.fault(endpoints, `an upstream needs an endpoint, such as endpoints: ["https://gpustack.example.com"]`)
		}
		demo, real, plain, secure := false, false, false, false
		for i, e := range u.Endpoints {
			v.endpoint(v.urlPath(endpoints.index(i)), e.URL)
			v.number(endpoints.index(i).key("weight"), int64(e.Weight), 1, 1000)
			if at := endpoints.index(i).key("metrics"); e.Metrics != "" {
				v.metrics(at, e.Metrics)
			}
			demo = demo || isDemo(e.URL)
			scheme, _, _ := strings.Cut(strings.ToLower(e.URL), ":")
			plain, secure = plain || scheme == "http", secure || scheme == "https"
			real = plain || secure
		}
		if plain && secure {
			v.fault(endpoints, "http stands beside https, and a call that is meant for one never goes over the other: make two upstreams of them")
		}
		if demo && real {
			v.fault(endpoints, "the demo stands beside a real service, which would get and miss the upstream's secret in turn: list one kind only")
		}
		v.number(p.key("max_conns"), int64(u.MaxConns), 1, maxCount)
		v.number(p.key("max_idle_conns"), int64(u.MaxIdleConns), 0, maxCount)
		v.positive(p.key("idle_timeout"), u.IdleTimeout)
		v.positive(p.key("connect_timeout"), u.ConnectTimeout)
		v.positive(p.key("response_timeout"), u.ResponseTimeout)
		v.positive(p.key("chunk_timeout"), u.ChunkTimeout)
		v.size(p.key("max_response"), u.MaxResponse, 0, TiB)

		v.authorities(p.key("tls").key("ca"), u.TLS.CA, secure || !v.known(endpoints))
		v.proxy(p.key("proxy"), u.Proxy, demo)
		v.number(p.key("max_waiting"), int64(u.MaxWaiting), 0, maxCount)
		v.header(p.key("timeout_header"), u.TimeoutHeader)
		v.header(p.key("sticky"), u.Sticky)
		v.health(p.key("health"), u.Health)
		v.queue(p.key("queue"), u)
		v.retry(p.key("retry"), u.Retry)
		v.breaker(p.key("breaker"), u.Breaker)

		auth := p.key("auth")
		v.as(auth, u.Auth.As, u.Auth.Secret)
		v.secretFor(auth.key("secret"), u.Auth.Secret, name)
	}
}

func isDemo(endpoint string) bool { return endpoint == "demo:gpustack" || endpoint == "demo:search" }

// endpoint wants an address that the host can call, or one of the demo's.
func (v *validator) endpoint(p path, endpoint string) {
	if isDemo(endpoint) {
		return
	}
	fault := func(what string) { v.fault(p, "%s; got %s", what, v.text(p, endpoint)) }
	u, err := url.Parse(endpoint)
	switch {
	case err == nil && u.Scheme == "demo":
		fault("the demo has demo:gpustack and demo:search")
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || !isHost(strings.ToLower(u.Hostname())):
		fault("want an http:// or https:// URL, demo:gpustack or demo:search")
	case u.Port() != "" && !isPort(u.Port()):
		fault("the port is not one")
	case u.User != nil:
		fault("an endpoint holds no user or password; put them into a secret and name it in auth")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		fault("an endpoint has no query or fragment")
	}
}

// authorities wants a file of certificates for endpoints that speak https, where one is named.
func (v *validator) authorities(p path, file string, secure bool) {
	if file == "" {
		return
	}
	if !secure {
		v.fault(p, "it says who vouches for https, and no endpoint speaks it")
		return
	}
	v.file(p, file)
	if pem, err := os.ReadFile(file); err == nil && !x509.NewCertPool().AppendCertsFromPEM(pem) {
		v.fault(p, "%s holds no certificate in PEM form", v.text(p, file))
	}
}

// proxy wants the address of an HTTP proxy.
func (v *validator) proxy(p path, proxy string, demo bool) {
	if proxy == "" {
		return
	}
	u, err := url.Parse(proxy)
	switch {
	case err != nil || u.Scheme != "http" || !isHost(strings.ToLower(u.Hostname())) || u.Port() != "" && !isPort(u.Port()) ||
		strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		v.fault(p, "want the address of an HTTP proxy, such as http://proxy.example.com:3128; got %s", v.text(p, proxy))
	case u.User != nil:
		v.fault(p, "a proxy that asks for a password is not supported; got %s", v.text(p, proxy))
	case demo:
		v.fault(p, "the demo is inside the server: no proxy stands before it")
	}
}

func (v *validator) secrets() {
	for _, name := range slices.Sorted(maps.Keys(v.Secrets)) {
		p, s := path{"secrets", name}, v.Secrets[name]
		env, file := p.key("env"), p.key("file")
		if (s.Env == "") == (s.File == "") && v.known(env, file) {
			v.fault(p, "a secret comes from exactly one of env and file")
		}
		if s.Env != "" && !isVariable(s.Env) {
			v.fault(env, "want the name of an environment variable, got %s", v.text(env, s.Env))
		}
		hosts, upstream := p.key("hosts"), p.key("upstream")
		switch {
		case (len(s.Hosts) == 0) == (s.Upstream == "") && v.known(hosts, upstream):
			v.fault(p, "a secret is bound to hosts, as in hosts: [api.example.com], or to one upstream, and not to both")
		case s.Upstream != "":
			v.upstreamName(upstream, s.Upstream)
		}
		for i, host := range s.Hosts {
			v.host(hosts.index(i), host)
		}
	}
}

// upstreamName wants the name of a known upstream and reports whether it can be relied upon.
func (v *validator) upstreamName(p path, name string) bool {
	if _, ok := v.Upstreams[name]; ok {
		return true
	}
	if v.known(path{"upstreams", name}) {
		v.fault(p, "there is no upstream %s%s", v.text(p, name), didYouMean(name, v.Upstreams))
	}
	return false
}

// secret returns a secret by its name. It returns false when there is none, which it reports, or
// when the secret was not read as a whole.
func (v *validator) secret(p path, name string) (Secret, bool) {
	s, ok := v.Secrets[name]
	at := path{"secrets", name}
	if !ok && v.known(at) {
		v.fault(p, "there is no secret %s%s", v.text(p, name), didYouMean(name, v.Secrets))
	}
	return s, ok && v.whole(at)
}

// secretFor wants a secret that may go to an upstream, where one is named.
func (v *validator) secretFor(p path, name, upstream string) {
	if name == "" {
		return
	}
	s, ok := v.secret(p, name)
	if !ok {
		return
	}
	if s.Upstream != upstream {
		v.fault(p, "the secret %s is not bound to this upstream; say upstream: %s in secrets.%s", name, upstream, name)
		return
	}
	if s.Insecure {
		return
	}
	endpoints := path{"upstreams", upstream, "endpoints"}
	for i, e := range v.Upstreams[upstream].Endpoints {
		if at := v.urlPath(endpoints.index(i)); strings.HasPrefix(strings.ToLower(e.URL), "http:") && v.known(at) {
			v.fault(p, "the secret %s would travel over plain http to %s; use https, or say insecure: true in secrets.%s",
				name, v.text(at, e.URL), name)
			return
		}
	}
}

// as wants a way for a secret to travel: bearer or a header. section holds it and the secret.
func (v *validator) as(section path, as, secret string) {
	p := section.key("as")
	switch {
	case as == "":
	case !isToken(as):
		v.fault(p, "want bearer or the name of a header, got %s", v.text(p, as))
	case secret == "" && v.known(section.key("secret")):
		v.fault(p, "as says how a secret travels, and no secret is named beside it")
	}
}

// host wants an exact host name or address.
func (v *validator) host(p path, host string) {
	if !isHost(host) {
		v.fault(p, "want one host in lower case, such as api.example.com, without scheme, port, path or *; got %s", v.text(p, host))
	}
}

// isHost reports whether s is an address, or a name in lower case in the letters that DNS takes.
func isHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	if s == "" || len(s) > 253 || IsNumericHost(s) {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_'
		}) {
			return false
		}
	}
	return true
}

// isToken reports whether s is a token of HTTP: a header's name or a method.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	})
}

// didYouMean continues "there is no upstream x" with what there is, if that is few enough to read.
func didYouMean[T any](name string, entries map[string]T) string {
	switch {
	case len(entries) == 0:
		return "; none is configured"
	case len(entries) > maxNamed:
		return ""
	}
	known := slices.Sorted(maps.Keys(entries))
	if meant := nearest(name, known); meant != "" {
		return "; did you mean " + meant + "?"
	}
	return "; known: " + strings.Join(known, ", ")
}
