//go:build wasip1

// Command guest is what the tests and benchmarks of the meter run: loops, allocation, JSON and bulk memory as the
// Go compiler emits them.
package main

import (
	"encoding/json"
	"runtime"
	"strings"
)

func main() {}

// loop is integer arithmetic without memory.
//
//go:wasmexport loop
func loop(n int32) int32 {
	s := int32(0)
	for i := range n {
		s += i ^ (s >> 3)
	}
	return s
}

// fib is calls without loops.
//
//go:wasmexport fib
func fib(n int32) int32 {
	if n < 2 {
		return n
	}
	return fib(n-1) + fib(n-2)
}

var kept [64][]byte

// alloc makes n slices of 4 KiB, of which 64 stay alive, and lets the collector run.
//
//go:wasmexport alloc
func alloc(n int32) int32 {
	for i := range n {
		kept[i&63] = make([]byte, 4096)
	}
	runtime.Gosched()
	return n
}

type message struct {
	Role    string             `json:"role"`
	Content string             `json:"content"`
	Tags    []string           `json:"tags"`
	Scores  map[string]float64 `json:"scores"`
}

// recode decodes and encodes a small document n times and returns the length of the last one.
//
//go:wasmexport recode
func recode(n int32) int32 {
	doc := []byte(`{"model":"a","messages":[{"role":"user","content":"What is the weather like in \u00c5re?","tags":["x","y"],` +
		`"scores":{"a":0.25,"b":1e-3}},{"role":"assistant","content":"Snow.\nMore later.","tags":[],"scores":{}}],"stream":true}`)
	for range n {
		var v struct {
			Model    string    `json:"model"`
			Messages []message `json:"messages"`
			Stream   bool      `json:"stream"`
		}
		if err := json.Unmarshal(doc, &v); err != nil {
			return -1
		}
		var err error
		if doc, err = json.Marshal(v); err != nil {
			return -2
		}
	}
	runtime.Gosched()
	return int32(len(doc))
}

// nest goes n calls deep by itself and decodes JSON of n levels, of which encoding/json takes 10,000. It returns how deep it was.
//
//go:wasmexport nest
func nest(n int32) int32 {
	var v any
	if err := json.Unmarshal([]byte(strings.Repeat(`{"a":`, int(n))+"1"+strings.Repeat("}", int(n))), &v); err != nil {
		return -1
	}
	return levels(v)
}

func levels(v any) int32 {
	m, ok := v.(map[string]any)
	if !ok {
		return 0
	}
	return levels(m["a"]) + 1
}

// move copies n bytes within a buffer.
//
//go:wasmexport move
func move(n int32) int32 {
	b := make([]byte, n+8)
	for i := range b {
		b[i] = byte(i * 7)
	}
	copy(b[8:], b)
	copy(b, b[3:])
	s := int32(0)
	for _, c := range b {
		s = s*31 + int32(c)
	}
	runtime.Gosched()
	return s
}
