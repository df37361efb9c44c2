package config

import (
	"strconv"
	"strings"
)

// path is where a setting is: keys, and places in lists written as "[0]".
type path []string

// key is the path of a key in the section at p. p itself is left as it is.
func (p path) key(names ...string) path {
	return append(p[:len(p):len(p)], names...)
}

// index is the path of an entry of the list at p.
func (p path) index(i int) path { return p.key("[" + strconv.Itoa(i) + "]") }

// String writes plugins[0].grant.fetch[1].host.
func (p path) String() string {
	var b strings.Builder
	for i, step := range p {
		if i > 0 && !strings.HasPrefix(step, "[") {
			b.WriteByte('.')
		}
		b.WriteString(step)
	}
	return b.String()
}

// origin is where a value was written.
type origin struct {
	source string // a file, "environment NAME" or "flag NAME"
	line   int    // of a file
	ref    string // what was written, where that holds a ${VAR}; see reference
}

// places is a tree of origins that has the shape of the values. A tree rather than a map of
// paths: a hostile file can make paths long and many, and their text would be their product.
type places struct {
	at   origin
	kids map[string]*places
}

// put records the origin of the value at p.
func (t *places) put(p path, at origin) {
	for _, step := range p {
		kid := t.kids[step]
		if kid == nil {
			if t.kids == nil {
				t.kids = map[string]*places{}
			}
			kid = &places{}
			t.kids[step] = kid
		}
		t = kid
	}
	t.at = at
}

// find returns the origin of the value at p, or of the innermost section around it that has one,
// and how many steps of p that is. An origin without a source is returned when there is none.
func (t *places) find(p path) (at origin, depth int) {
	at = t.at
	for i, step := range p {
		if t = t.kids[step]; t == nil {
			break
		}
		if t.at.source != "" {
			at, depth = t.at, i+1
		}
	}
	return at, depth
}

// any returns an origin below the value at p, for a section that only its settings make exist.
func (t *places) any(p path) origin {
	for _, step := range p {
		if t = t.kids[step]; t == nil {
			return origin{}
		}
	}
	for t.at.source == "" && len(t.kids) > 0 {
		least := ""
		for step := range t.kids {
			if least == "" || step < least {
				least = step
			}
		}
		t = t.kids[least]
	}
	return t.at
}

// pathSet is a set of paths. A path in it stands for everything below it.
type pathSet struct {
	whole bool
	kids  map[string]*pathSet
}

// add puts p into the set.
func (s *pathSet) add(p path) {
	for _, step := range p {
		kid := s.kids[step]
		if kid == nil {
			if s.kids == nil {
				s.kids = map[string]*pathSet{}
			}
			kid = &pathSet{}
			s.kids[step] = kid
		}
		s = kid
	}
	s.whole = true
}

// covers reports whether p, or a path above it, is in the set.
func (s *pathSet) covers(p path) bool {
	for _, step := range p {
		if s.whole {
			return true
		}
		if s = s.kids[step]; s == nil {
			return false
		}
	}
	return s.whole
}

// meets reports whether p, or a path above or below it, is in the set.
func (s *pathSet) meets(p path) bool {
	for _, step := range p {
		if s.whole {
			return true
		}
		if s = s.kids[step]; s == nil {
			return false
		}
	}
	return true // a node exists only on the way to a path of the set
}
