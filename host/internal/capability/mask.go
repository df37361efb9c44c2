package capability

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"html"
	"io"
	"net/url"
	"slices"
	"strings"
)

// minMasked is the length, in bytes, from which a secret can be told from ordinary text.
const minMasked = 8

// mask finds a secret in what comes back from whoever was sent it, and overwrites it with stars: the length stays, and so does
// the Content-Length. It is read-only once it is made.
//
// It is Wu and Manber's search ("A fast algorithm for multi-pattern searching", 1994) with blocks of two bytes: on a text
// without the secret it looks at one byte in about window.
type mask struct {
	needles [][]byte // the spellings
	window  int      // the length of the shortest, in bytes, if that is not long
	longest int      // in bytes
	first   [256]bool
	shift   [1 << 12]uint8
}

// newMask is nil for a value that is too short.
func newMask(value string) *mask {
	if len(value) < minMasked {
		return nil
	}
	m := &mask{needles: spellings(value), window: 200}
	for _, n := range m.needles {
		m.window, m.longest = min(m.window, len(n)), max(m.longest, len(n))
		m.first[n[0]] = true
	}
	for i := range m.shift {
		m.shift[i] = uint8(m.window - 1)
	}
	for _, n := range m.needles {
		for i := 1; i < m.window; i++ {
			at := &m.shift[block(n[i-1], n[i])]
			*at = min(*at, uint8(m.window-1-i))
		}
	}
	return m
}

func block(a, b byte) int { return (int(a)<<5 ^ int(b)) & (1<<12 - 1) }

// spellings are how a value stands in answers and messages: as it is, in a URL, in JSON, in HTML, in hex, and in base64 behind
// anything, as in Basic credentials.
func spellings(value string) [][]byte {
	inJSON, _ := json.Marshal(value)
	quoted := strings.Trim(string(inJSON), `"`)
	raw := []byte(value)
	all := []string{
		value, url.QueryEscape(value), url.PathEscape(value), quoted, strings.ReplaceAll(quoted, "/", `\/`), html.EscapeString(value),
		hex.EncodeToString(raw), strings.ToUpper(hex.EncodeToString(raw)),
	}
	for before := range 3 {
		// What stands before shifts the bits; only the characters that are the value's alone are looked for.
		whole := append(make([]byte, before), raw...)
		from, to := (before*8+5)/6, len(whole)*8/6
		all = append(all, base64.RawStdEncoding.EncodeToString(whole)[from:to], base64.RawURLEncoding.EncodeToString(whole)[from:to])
	}
	slices.Sort(all)
	needles := make([][]byte, 0, len(all))
	for _, s := range slices.Compact(all) {
		needles = append(needles, []byte(s))
	}
	return needles
}

// apply overwrites the secret where all of it stands in b.
func (m *mask) apply(b []byte) {
	var found [][2]int // overwritten when all are known: one may reach into the next
	for i := m.window - 1; i < len(b); {
		skip := int(m.shift[block(b[i-1], b[i])])
		if skip > 0 {
			i += skip
			continue
		}
		start := i - m.window + 1
		for _, n := range m.needles {
			if bytes.HasPrefix(b[start:], n) {
				found = append(found, [2]int{start, start + len(n)})
			}
		}
		i++
	}
	for _, f := range found {
		stars(b[f[0]:f[1]])
	}
}

// text is s with the secret overwritten.
func (m *mask) text(s string) string {
	if m == nil || len(s) < m.window {
		return s
	}
	b := []byte(s)
	m.apply(b)
	return string(b)
}

// begun is how many bytes at the end of b may be the beginning of the secret.
func (m *mask) begun(b []byte) int {
	for at := max(0, len(b)-m.longest+1); at < len(b); at++ {
		if !m.first[b[at]] {
			continue
		}
		for _, n := range m.needles {
			if len(n) > len(b)-at && bytes.HasPrefix(n, b[at:]) {
				return len(b) - at
			}
		}
	}
	return 0
}

func stars(b []byte) {
	for i := range b {
		b[i] = '*'
	}
}

// masked is a body without a secret. What may be the beginning of one waits for the next bytes; nothing else does.
type masked struct {
	from  io.Reader
	mask  *mask
	held  []byte // may be the beginning of the secret
	ready []byte // for who reads a few bytes at a time
	err   error  // what follows ready
}

func (r *masked) Read(p []byte) (int, error) {
	for len(r.ready) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		if len(p) == 0 {
			return 0, nil
		}
		if len(p) > 2*len(r.held)+minMasked {
			if n := r.fill(p); n > 0 {
				return n, nil
			}
			continue
		}
		own := make([]byte, 2*len(r.held)+4*minMasked)
		r.ready = own[:r.fill(own)]
	}
	n := copy(p, r.ready)
	r.ready = r.ready[n:]
	return n, nil
}

// fill reads once into b, which has room for more than what is held, and returns how much of it may be seen.
func (r *masked) fill(b []byte) int {
	n := copy(b, r.held)
	r.held = r.held[:0]
	var more int
	more, r.err = r.from.Read(b[n:])
	b = b[:n+more]
	r.mask.apply(b)
	if len(b) == 0 {
		return 0
	}
	begun := r.mask.begun(b)
	if r.err != nil { // an answer that was cut within the secret
		if begun >= minMasked {
			stars(b[len(b)-begun:])
		}
		return len(b)
	}
	r.held = append(r.held, b[len(b)-begun:]...)
	return len(b) - begun
}
