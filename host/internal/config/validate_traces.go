package config

import (
	"maps"
	"net/url"
	"slices"
	"strings"
)

// maxAttribute bounds a name or a value that goes with every batch of spans, in bytes.
const maxAttribute = 1024

func (v *validator) traces() {
	p, t := path{"traces"}, &v.Traces
	v.oneOf(p.key("protocol"), t.Protocol, "grpc", "http/protobuf")
	v.oneOf(p.key("propagate"), t.Propagate, "upstreams", "all", "none")
	if !(t.Sample >= 0 && t.Sample <= 1) { // so that .nan is none either
		v.fault(p.key("sample"), "want 0 to 1, got %v", t.Sample)
	}
	v.number(p.key("queue"), int64(t.Queue), 1, maxCount)
	v.positive(p.key("timeout"), t.Timeout)
	if t.ServiceName == "" || len(t.ServiceName) > maxAttribute {
		v.fault(p.key("service_name"), "want a name of 1 to %d bytes", maxAttribute)
	}
	for _, name := range slices.Sorted(maps.Keys(t.Resource)) {
		if name == "" || len(name) > maxAttribute || len(t.Resource[name]) > maxAttribute {
			v.fault(p.key("resource"), "the attribute %s: want a name of 1 to %d bytes, and a value of no more", shown(name), maxAttribute)
		}
	}
	sent := 0
	for _, name := range slices.Sorted(maps.Keys(t.Headers)) {
		v.traceHeader(p.key("headers"), name, t.Headers[name])
		sent += len(t.Headers[name])
	}
	v.file(p.key("ca"), t.CA)
	if t.Endpoint != "" {
		v.traceEndpoint(p, t, sent > 0)
	}
}

// traceHeader says nothing of the value: it is a secret.
func (v *validator) traceHeader(p path, name, value string) {
	switch {
	case !isToken(name) || name != strings.ToLower(name), strings.HasPrefix(name, "grpc-"), strings.HasSuffix(name, "-bin"), name == "te", name == "content-type", name == "host":
		v.fault(p, "%s is no header that can be set: want a name in lower case, such as api-key", shown(name))
	case len(value) > maxAttribute*8 || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r >= 0x7f }):
		v.fault(p, "the value of %s cannot be sent in a header: want printable ASCII, at most %d bytes", shown(name), maxAttribute*8)
	}
}

func (v *validator) traceEndpoint(p path, t *Traces, secret bool) {
	at := p.key("endpoint")
	u, err := url.Parse(t.Endpoint)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Opaque != "" || !isHost(strings.ToLower(u.Hostname())) || u.Port() != "" && !isPort(u.Port()):
		v.fault(at, "want the URL of an OTLP receiver, such as http://127.0.0.1:4317 or https://otlp.example.com")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		v.fault(at, "want no user, query or fragment: what authorizes goes into traces.headers")
	case t.Protocol == "grpc" && strings.Trim(u.Path, "/") != "":
		v.fault(at, "gRPC has no path: leave it out, or say protocol: http/protobuf")
	case u.Scheme == "http" && secret && !t.Insecure:
		v.fault(at, "the headers would travel over plain http: use https, or set traces.insecure: true")
	case u.Scheme == "http" && t.CA != "":
		v.fault(p.key("ca"), "plain http asks for no certificate: use https, or leave it out")
	}
}
