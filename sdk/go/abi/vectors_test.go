package abi_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

const vectors = "../../conformance/vectors"

// vector is one case of a file; the README beside the files says what its members mean.
type vector struct {
	Name  string
	Kind  string
	Hex   string
	Value json.RawMessage
	Error abi.Code
}

type event struct {
	Kind                         abi.Kind
	Flags                        uint16
	Code, Data, Len, Fields, Arg uint32
	ID                           uint64 `json:",string"`
}

type op struct {
	Code       abi.OpCode
	Flags      uint16
	Arg        uint32
	Request    uint64 `json:",string"`
	Op         uint64 `json:",string"`
	Fields     [2]uint32
	Body, Name [2]uint32
	Arg64      uint64 `json:",string"`
	Result     int32
}

func span(s [2]uint32) abi.Span { return abi.Span{Ptr: s[0], Len: s[1]} }

func load(tb testing.TB) []vector {
	tb.Helper()
	files, err := filepath.Glob(filepath.Join(vectors, "*.json"))
	if err != nil || len(files) == 0 {
		tb.Fatalf("no vectors in %s (%v)", vectors, err)
	}
	var all []vector
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		var vs []vector
		if err := json.Unmarshal(b, &vs); err != nil {
			tb.Fatalf("%s: %v", file, err)
		}
		all = append(all, vs...)
	}
	return all
}

func TestVectors(t *testing.T) {
	check := map[string]func(*testing.T, []byte, vector){"event": checkEvent, "op": checkOp, "fields": checkFields, "handshake": checkHandshake}
	seen := map[string]int{}
	for _, v := range load(t) {
		t.Run(v.Kind+"/"+v.Name, func(t *testing.T) {
			b, err := hex.DecodeString(v.Hex)
			if err != nil {
				t.Fatal(err)
			}
			if check[v.Kind] == nil {
				t.Fatalf("unknown kind %q", v.Kind)
			}
			check[v.Kind](t, b, v)
			seen[v.Kind]++
		})
	}
	for kind := range check {
		if seen[kind] == 0 {
			t.Errorf("no vector of kind %q", kind)
		}
	}
}

func decode(t *testing.T, v vector, into any) {
	t.Helper()
	if err := json.Unmarshal(v.Value, into); err != nil {
		t.Fatal(err)
	}
}

func checkEvent(t *testing.T, b []byte, v vector) {
	var w event
	decode(t, v, &w)
	want := abi.Event{Kind: w.Kind, Flags: w.Flags, Code: w.Code, ID: w.ID, Data: w.Data, Len: w.Len, Fields: w.Fields, Arg: w.Arg}
	var got abi.Event
	if got.Get(b); got != want {
		t.Errorf("decoded %+v, want %+v", got, want)
	}
	out := bytes.Repeat([]byte{0xa5}, abi.EventSize+1)
	if want.Put(out); !bytes.Equal(out, append(b, 0xa5)) {
		t.Errorf("encoded %x", out)
	}
}

func checkOp(t *testing.T, b []byte, v vector) {
	var w op
	decode(t, v, &w)
	want := abi.Op{
		Code: w.Code, Flags: w.Flags, Arg: w.Arg, Request: w.Request, ID: w.Op,
		Fields: span(w.Fields), Body: span(w.Body), Name: span(w.Name), Arg64: w.Arg64, Result: w.Result,
	}
	var got abi.Op
	if got.Get(b); got != want {
		t.Errorf("decoded %+v, want %+v", got, want)
	}
	out := bytes.Repeat([]byte{0xa5}, abi.OpSize+1)
	if want.Put(out); !bytes.Equal(out, append(b, 0xa5)) {
		t.Errorf("encoded %x", out)
	}
	if result := int32(binary.LittleEndian.Uint32(b[abi.OpResult:])); result != want.Result {
		t.Errorf("result at its offset is %d", result)
	}
}

func checkFields(t *testing.T, b []byte, v vector) {
	got, err := abi.ParseBlock(b)
	if v.Error != 0 {
		var e *abi.Error
		if !errors.As(err, &e) || e.Code != v.Error {
			t.Errorf("error %v, want code %d", err, v.Error)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	var w [][2]string
	decode(t, v, &w)
	var want []abi.Field
	for _, f := range w {
		want = append(want, abi.Field{Name: f[0], Value: f[1]})
	}
	if !slices.Equal(got, want) {
		t.Errorf("decoded %q, want %q", got, want)
	}
	if len(b) == 0 {
		return // the other way to write no fields
	}
	if out := abi.AppendBlock([]byte("x"), want); !bytes.Equal(out[1:], b) || abi.BlockSize(want) != len(b) {
		t.Errorf("encoded %x, of size %d", out[1:], abi.BlockSize(want))
	}
}

func checkHandshake(t *testing.T, b []byte, v vector) {
	var w struct{ Version, Features uint32 }
	decode(t, v, &w)
	answer := binary.LittleEndian.Uint64(b)
	if version, features := abi.SplitHandshake(answer); version != w.Version || features != w.Features {
		t.Errorf("split into %d, %d", version, features)
	}
	if got := abi.Handshake(w.Version, w.Features); got != answer {
		t.Errorf("packed %x", got)
	}
}

func TestGet(t *testing.T) {
	fields := []abi.Field{{Name: "a", Value: "1"}, {Name: "b", Value: "2"}, {Name: "a", Value: "3"}}
	if abi.Get(fields, "a") != "1" || abi.Get(fields, "b") != "2" || abi.Get(fields, "c") != "" {
		t.Error("wrong values")
	}
}

func TestCodes(t *testing.T) {
	seen := map[string]abi.Code{}
	for c := abi.OK; c <= abi.Unavailable; c++ {
		text := c.String()
		if before, twice := seen[text]; twice || text == "unknown code" || text == "" {
			t.Errorf("code %d is %q, as is %d", c, text, before)
		}
		seen[text] = c
	}
	if (abi.Unavailable + 1).String() != "unknown code" {
		t.Error("a code beyond the last has a text")
	}
	if e := (&abi.Error{Code: abi.Denied}); e.Error() != "denied" {
		t.Error(e)
	}
	if e := (&abi.Error{Code: abi.Denied, Text: "why"}); e.Error() != "why" {
		t.Error(e)
	}
}

// FuzzParseBlock: whatever parses is within the limits and encodes to the same bytes.
func FuzzParseBlock(f *testing.F) {
	for _, v := range load(f) {
		if v.Kind == "fields" {
			b, _ := hex.DecodeString(v.Hex)
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		fields, err := abi.ParseBlock(b)
		if err != nil {
			var e *abi.Error
			if !errors.As(err, &e) || e.Code != abi.Invalid {
				t.Fatalf("error %v", err)
			}
			return
		}
		if len(b) > abi.MaxBlock || len(fields) > abi.MaxFields {
			t.Fatalf("%d bytes, %d fields", len(b), len(fields))
		}
		if out := abi.AppendBlock(nil, fields); len(b) > 0 && !bytes.Equal(out, b) {
			t.Fatalf("%x became %x", b, out)
		}
	})
}
