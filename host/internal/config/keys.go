package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// keysFile is what a file of keys holds.
type keysFile struct {
	Keys []Key `yaml:"keys"`
}

// LoadKeys reads a file of keys: YAML with one section, keys, whose entries are those of auth.keys. It is as strict as Load, and
// its error is of type Errors. environ is what ${VAR} in it may name.
func LoadKeys(name string, environ []string) ([]Key, error) {
	r := &report{}
	// The file is read as if it were the section auth.
	p := path{"auth"}
	l, readable := readSection(name, p, reflect.TypeFor[keysFile](), environment(environ), r)
	l.check(r)
	c := &Config{}
	for _, w := range decode(stack([]*layer{l}), c) {
		r.add(origin{source: name}, w.path, "want %s, got %s", w.want, w.got)
	}
	v := &validator{Config: c, layers: []*layer{l}, readable: readable, report: r}
	v.auth()
	for i := range r.found {
		r.found[i].Path = strings.TrimPrefix(strings.TrimPrefix(r.found[i].Path, p.String()), ".")
	}
	if err := r.err(name); err != nil {
		return nil, err
	}
	return c.Auth.Keys, nil
}

// The parts of a key's hash, in bytes.
const (
	KeyIDSize   = 8 // letters and digits of base32
	KeySaltSize = 16
	KeySumSize  = 32 // of SHA-256
)

// KeyPrefix is what a key begins with.
const KeyPrefix = "pb_"

// KeyAlphabet has the 32 digits of a key: RFC 4648's base32, in lower case.
const KeyAlphabet = "abcdefghijklmnopqrstuvwxyz234567"

// JoinKeyHash writes a key's hash: the kind, the public part of the key, the salt and the sum.
func JoinKeyHash(id string, salt, sum []byte) string {
	b64 := base64.RawURLEncoding
	return "sha256:" + id + ":" + b64.EncodeToString(salt) + ":" + b64.EncodeToString(sum)
}

// SplitKeyHash takes a key's hash apart. Its error does not show the text, which may be a key.
func SplitKeyHash(s string) (id string, salt, sum []byte, err error) {
	parts := strings.Split(s, ":")
	if len(parts) == 4 && parts[0] == "sha256" && len(parts[1]) == KeyIDSize && strings.Trim(parts[1], KeyAlphabet) == "" {
		b64 := base64.RawURLEncoding.Strict()
		var errs [2]error
		salt, errs[0] = b64.DecodeString(parts[2])
		sum, errs[1] = b64.DecodeString(parts[3])
		if errors.Join(errs[:]...) == nil && len(salt) == KeySaltSize && len(sum) == KeySumSize {
			return parts[1], salt, sum, nil
		}
	}
	return "", nil, nil, errors.New("want a hash such as sha256:… as 'patchbay key new' prints it")
}

// CheckKeyName wants what can stand in a log and a metric, and is no key.
func CheckKeyName(name string) error {
	switch {
	case strings.HasPrefix(name, KeyPrefix):
		return errors.New("want a name that does not begin as a key does, since names stand in logs")
	case !isName(name):
		return errors.New("want a name of lower-case letters, digits and single dashes or underscores between them")
	}
	return nil
}

// ParseExpiry reads a moment: 2027-01-31, which is its midnight in UTC, or 2027-01-31T18:00:00Z.
func ParseExpiry(s string) (time.Time, error) {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, errors.New("want a date such as 2027-01-31, or a time such as 2027-01-31T18:00:00Z")
}

// ScopePattern turns what a key may call into a pattern of net/http's ServeMux. A scope is a route as a plugin's are, "*" in
// the place of all that follows a "/", as in "POST /api/inference/*", or "*" alone, which is everything and "" as a pattern.
func ScopePattern(scope string) (string, error) {
	if scope == "*" {
		return "", nil
	}
	below, wild := strings.CutSuffix(scope, "/*")
	if !wild {
		method, pattern, err := splitRoute(scope)
		if err != nil {
			return "", fmt.Errorf(`%w, or "POST /api/inference/*", or "*" for everything`, err)
		}
		if pattern == "/" {
			pattern = "/{$}"
		}
		return method + " " + pattern, nil
	}
	if strings.HasSuffix(below, "/") {
		return "", errors.New("want a path without empty segments")
	}
	if strings.HasSuffix(below, " ") {
		below += "/"
	}
	method, pattern, err := splitRoute(below)
	switch {
	case err != nil:
		return "", err
	case strings.Contains(pattern, "...}"):
		return "", errors.New("want * or {rest...} at the end, not both")
	}
	return method + " " + strings.TrimSuffix(pattern, "/") + "/", nil
}

// auth judges the keys. That a required key is there is for the start to say: later on, a last key that is revoked must go.
func (v *validator) auth() {
	p := path{"auth", "keys"}
	names, ids := map[string]path{}, map[string]path{}
	for i, k := range v.Auth.Keys {
		at := p.index(i)
		if name := at.key("name"); CheckKeyName(k.Name) != nil {
			v.fault(name, "%v", CheckKeyName(k.Name)) // without the text, which may be a key
		} else {
			v.once(name, "name", k.Name, names)
		}
		if id, _, _, err := SplitKeyHash(k.Hash); err != nil {
			v.fault(at.key("hash"), "%v", err)
		} else {
			v.once(at.key("hash"), "key", id, ids)
		}
		if len(k.Routes) == 0 && v.known(at.key("routes")) {
			v.fault(at.key("routes"), `routes left out allow none: add routes: ["POST /api/…"], or ["*"] for everything`)
		}
		for j, scope := range k.Routes {
			route := at.key("routes").index(j)
			if _, err := ScopePattern(scope); err != nil {
				v.fault(route, "%v, got %s", err, v.text(route, scope))
			}
		}
		if k.Expires != "" {
			if _, err := ParseExpiry(k.Expires); err != nil {
				v.fault(at.key("expires"), "%v, got %s", err, v.text(at.key("expires"), k.Expires))
			}
		}
	}
}

// once wants a word that no entry of the list before has.
func (v *validator) once(p path, what, word string, taken map[string]path) {
	if first, ok := taken[word]; ok {
		v.fault(p, "the %s %s is taken by %s", what, shown(word), first[:len(first)-1])
		return
	}
	taken[word] = p
}
