package plugin

import (
	"iter"
	"strings"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// Field is one header: a name in lower case and a value.
type Field = abi.Field

// Header is a list of headers in their order. A name may repeat. The zero value is empty and ready to use.
// Methods take names in any case. It is not safe for use by several goroutines at once.
type Header []Field

// Get is the first value of name, or "".
func (h Header) Get(name string) string {
	for i := range h {
		if strings.EqualFold(h[i].Name, name) {
			return h[i].Value
		}
	}
	return ""
}

// Has reports whether there is a header of that name, be its value empty.
func (h Header) Has(name string) bool {
	for i := range h {
		if strings.EqualFold(h[i].Name, name) {
			return true
		}
	}
	return false
}

// Values is all values of name in their order, nil when there is none.
func (h Header) Values(name string) []string {
	var values []string
	for i := range h {
		if strings.EqualFold(h[i].Name, name) {
			values = append(values, h[i].Value)
		}
	}
	return values
}

// All gives every name and value in order.
func (h Header) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, f := range h {
			if !yield(f.Name, f.Value) {
				return
			}
		}
	}
}

// Add appends a header, beside others of that name.
func (h *Header) Add(name, value string) {
	*h = append(*h, Field{Name: strings.ToLower(name), Value: value})
}

// Set puts value in the place of all values of name.
func (h *Header) Set(name, value string) {
	for i := range *h {
		if strings.EqualFold((*h)[i].Name, name) {
			(*h)[i].Value = value
			rest := (*h)[i+1:]
			rest.Del(name)
			*h = (*h)[:i+1+len(rest)]
			return
		}
	}
	h.Add(name, value)
}

// Del removes all headers of that name.
func (h *Header) Del(name string) {
	kept := (*h)[:0]
	for _, f := range *h {
		if !strings.EqualFold(f.Name, name) {
			kept = append(kept, f)
		}
	}
	clear((*h)[len(kept):])
	*h = kept
}
