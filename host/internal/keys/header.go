package keys

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strings"

	"github.com/patchbay-run/patchbay/host/internal/config"
)

// Where a key may be, as net/http spells them. A browser can set no header of a websocket but the list of protocols, so there
// a key stands as one of them.
const (
	authorization = "Authorization"
	apiKey        = "X-Api-Key"
	protocols     = "Sec-Websocket-Protocol"

	protocolPrefix = "pb."
)

// maxBasic bounds what of a password is decoded to look for a key in it, in bytes.
const maxBasic = 1024

// ours says whether a text is meant to be a key of this server's.
func ours(s string) bool {
	return len(s) >= len(config.KeyPrefix) && strings.EqualFold(s[:len(config.KeyPrefix)], config.KeyPrefix)
}

// sentWith finds the one key that headers carry. The reason is missing when they carry nothing, and foreign when what they carry
// is somebody else's.
func sentWith(h http.Header) (key string, why reason) {
	why = missing
	take := func(candidate string) {
		switch {
		case why == misplaced || why == several:
		case !ours(candidate) && holds(candidate):
			why = misplaced
		case !ours(candidate):
			if why == missing {
				why = foreign
			}
		case why == good && candidate != key:
			why = several
		default:
			key, why = candidate, good
		}
	}
	for _, v := range h[authorization] {
		switch token, ok := bearer(v); {
		case ok:
			take(token)
		case hides(v):
			why = misplaced
		case why == missing:
			why = foreign
		}
	}
	for _, v := range h[apiKey] {
		take(strings.TrimSpace(v))
	}
	for _, v := range h[protocols] {
		for p := range strings.SplitSeq(v, ",") {
			if candidate, ok := strings.CutPrefix(strings.TrimSpace(p), protocolPrefix); ok {
				take(candidate)
			}
		}
	}
	return key, why
}

// bearer returns the token of an Authorization header of that scheme.
func bearer(v string) (token string, ok bool) {
	scheme, token, _ := strings.Cut(strings.TrimSpace(v), " ")
	return strings.TrimSpace(token), strings.EqualFold(scheme, "Bearer")
}

// hides says whether a key stands in an Authorization header of another scheme, as from "curl -u pb_…:" or a URL with a user.
func hides(v string) bool {
	scheme, rest, _ := strings.Cut(strings.TrimSpace(v), " ")
	if holds(v) {
		return true
	}
	rest = strings.TrimSpace(rest)
	if !strings.EqualFold(scheme, "Basic") || len(rest) > maxBasic {
		return false
	}
	plain, err := base64.StdEncoding.DecodeString(rest)
	return err == nil && holds(string(plain))
}

// strip takes keys off headers, and leaves what is not ours.
func strip(h http.Header) {
	keep(h, authorization, func(v string) (string, bool) {
		token, ok := bearer(v)
		return v, !ok || !ours(token)
	})
	keep(h, apiKey, func(v string) (string, bool) { return v, !ours(strings.TrimSpace(v)) })
	keep(h, protocols, func(v string) (string, bool) {
		list := strings.Split(v, ",")
		list = slices.DeleteFunc(list, func(p string) bool { return strings.HasPrefix(strings.TrimSpace(p), protocolPrefix) })
		v = strings.Join(list, ",")
		return v, strings.TrimSpace(v) != ""
	})
}

// keep leaves those values of a header that f says, as f says.
func keep(h http.Header, name string, f func(string) (string, bool)) {
	values, ok := h[name]
	if !ok {
		return
	}
	var kept []string
	for _, v := range values {
		if v, ok := f(v); ok {
			kept = append(kept, v)
		}
	}
	if len(kept) == 0 {
		delete(h, name)
		return
	}
	h[name] = kept
}
