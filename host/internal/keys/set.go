package keys

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
)

// Set is the keys that are in force. It is made whole and never changed.
type Set struct {
	required bool
	keys     []*key
	byID     map[string]*key
}

// key is one of a Set.
type key struct {
	name     string
	salt     [config.KeySaltSize]byte
	sum      [sha256.Size]byte
	scopes   []*http.ServeMux // one of these must know the route; nil is every route
	expires  time.Time        // zero is never
	disabled bool
}

// Read makes the Set that a configuration describes, with the keys of its file. environ is what ${VAR} in the file may name.
func Read(auth config.KeyAuth, environ []string) (*Set, error) {
	s := &Set{required: auth.Required, byID: map[string]*key{}}
	all := auth.Keys
	if file := auth.KeysFile; file != "" {
		switch info, err := os.Stat(file); {
		case errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("auth.keys_file: there is no file %s: make it, with a key in it, by: patchbay key new --file %s", file, file)
		case err == nil && !info.Mode().IsRegular(): // opening a pipe would wait for its writer
			return nil, fmt.Errorf("auth.keys_file: %s is not a file", file)
		}
		more, err := config.LoadKeys(file, environ)
		if err != nil {
			return nil, fmt.Errorf("read auth.keys_file:\n%w", err)
		}
		all = append(slices.Clone(all), more...)
	}
	names := map[string]bool{}
	for _, c := range all {
		if names[c.Name] {
			return nil, fmt.Errorf("auth.keys_file: the name %q is taken by a key in auth.keys: give one of the two another", c.Name)
		}
		names[c.Name] = true
		if err := s.add(c); err != nil {
			return nil, fmt.Errorf("auth: key %q: %w", c.Name, err)
		}
	}
	return s, nil
}

func (s *Set) add(c config.Key) (err error) {
	k := &key{name: c.Name, disabled: c.Disabled}
	id, salt, sum, err := config.SplitKeyHash(c.Hash)
	if err != nil {
		return err
	}
	if s.byID[id] != nil {
		return fmt.Errorf("it is the same key as %q", s.byID[id].name)
	}
	copy(k.salt[:], salt)
	copy(k.sum[:], sum)
	if c.Expires != "" {
		if k.expires, err = config.ParseExpiry(c.Expires); err != nil {
			return err
		}
	}
	if k.scopes, err = scopes(c.Routes); err != nil {
		return err
	}
	s.keys, s.byID[id] = append(s.keys, k), k
	return nil
}

// scopes has net/http's own router judge each scope, so that a scope and the route table cannot read a path differently. There
// is one for each, because patterns that overlap do not fit into one.
func scopes(routes []string) ([]*http.ServeMux, error) {
	list := make([]*http.ServeMux, 0, len(routes))
	for _, scope := range routes {
		pattern, err := config.ScopePattern(scope)
		if err != nil {
			return nil, err
		}
		if pattern == "" {
			return nil, nil
		}
		mux := http.NewServeMux()
		mux.Handle(pattern, within{})
		list = append(list, mux)
	}
	return list, nil
}

// within is what a scope finds when a request is in it. ServeMux has handlers of its own for what it does not know, or would redirect.
type within struct{ http.Handler }

// allows says whether the key is for this route.
func (k *key) allows(r *http.Request) bool {
	if k.scopes == nil {
		return true
	}
	return slices.ContainsFunc(k.scopes, func(mux *http.ServeMux) bool {
		h, _ := mux.Handler(r)
		_, ok := h.(within)
		return ok
	})
}

// find returns the key that a client sent, if it is one of the set, be it expired or disabled. It does the same work whether
// there is one of that id or not, so that the time tells nobody which ids there are.
func (s *Set) find(sent string) (*key, reason) {
	id, ok := parse(sent)
	if !ok {
		return nil, malformed
	}
	k := s.byID[id]
	against := k
	if k == nil {
		against = &key{}
	}
	sum := digest(against.salt, sent)
	if subtle.ConstantTimeCompare(sum[:], against.sum[:]) != 1 || k == nil {
		return nil, unknown
	}
	return k, good
}

// state says whether a key that was found may be used.
func (k *key) state(now time.Time) reason {
	switch {
	case k.disabled:
		return revoked
	case !k.expires.IsZero() && !now.Before(k.expires):
		return expired
	}
	return good
}

// Required says whether a request needs a key.
func (s *Set) Required() bool { return s.required }

// Usable is how many keys would be let through at that moment.
func (s *Set) Usable(now time.Time) (n int) {
	for _, k := range s.keys {
		if k.state(now) == good {
			n++
		}
	}
	return n
}

// Names are those of all keys, usable or not, in the order of the configuration.
func (s *Set) Names() []string {
	names := make([]string, len(s.keys))
	for i, k := range s.keys {
		names[i] = k.name
	}
	return names
}

// Check fails for a set that asks for keys and has none that is good at that moment. The error says how to make one.
func (s *Set) Check(now time.Time) error {
	if !s.required || s.Usable(now) > 0 {
		return nil
	}
	if len(s.keys) > 0 {
		return fmt.Errorf("auth.required is true, and all %d keys are expired or disabled: make one by 'patchbay key new', or set auth.required: false", len(s.keys))
	}
	return errors.New("auth.required is true, and there is no key: make one by 'patchbay key new --file keys.yaml' and set auth.keys_file: keys.yaml, or set auth.required: false")
}
