package wasm_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/patchbay-run/patchbay/host/internal/guesttest"
	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// vector is one case of sdk/conformance/vectors, whose README says what its members mean.
type vector struct {
	Name, Kind, Hex string
	Value           json.RawMessage
	Error           abi.Code
}

func readVectors(t testing.TB) (all []vector) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(guesttest.Root(), "sdk", "conformance", "vectors", "*.json"))
	if err != nil || len(files) < 5 {
		t.Fatalf("%d files of vectors, error %v", len(files), err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var vectors []vector
		if err := json.Unmarshal(b, &vectors); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, vectors...)
	}
	return all
}

func headerSource() string {
	return filepath.Join(guesttest.Root(), "sdk", "c", "testdata", "header.c")
}

// headerModule is sdk/c/testdata/header.c as a module: a case goes in, its result and output come out.
func headerModule(t *testing.T) func(t *testing.T, kind byte, in []byte) (int32, []byte) {
	t.Helper()
	ctx := t.Context()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	t.Cleanup(func() { r.Close(ctx) })
	m, err := r.Instantiate(ctx, buildC(t, headerSource()))
	if err != nil {
		t.Fatal(err)
	}
	call := func(t *testing.T, name string, args ...uint64) uint32 {
		t.Helper()
		result, err := m.ExportedFunction(name).Call(ctx, args...)
		if err != nil {
			t.Fatal(err)
		}
		return uint32(result[0])
	}
	input, output := call(t, "input"), call(t, "output")
	return func(t *testing.T, kind byte, in []byte) (int32, []byte) {
		t.Helper()
		if !m.Memory().Write(input, in) {
			t.Fatalf("%d bytes are too many", len(in))
		}
		n := api.DecodeI32(uint64(call(t, "run", uint64(kind), uint64(len(in)))))
		out, _ := m.Memory().Read(output, uint32(max(n, 0)))
		return n, bytes.Clone(out)
	}
}

// words are numbers as header.c takes and gives them.
func words(numbers ...uint64) (b []byte) {
	for _, n := range numbers {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	return b
}

// TestHeaderInC holds patchbay.h against the vectors.
func TestHeaderInC(t *testing.T) {
	run := headerModule(t)
	seen := map[string]int{}
	for _, v := range readVectors(t) {
		seen[v.Kind]++
		t.Run(v.Kind+"/"+v.Name, func(t *testing.T) {
			b, err := hex.DecodeString(v.Hex)
			if err != nil {
				t.Fatal(err)
			}
			value := func(into any) {
				if err := json.Unmarshal(v.Value, into); err != nil {
					t.Fatal(err)
				}
			}
			expect := func(kind byte, in, want []byte) {
				t.Helper()
				if n, out := run(t, kind, in); int(n) != len(want) || !bytes.Equal(out, want) {
					t.Errorf("%c gave %d: %x, want %x", kind, n, out, want)
				}
			}
			switch v.Kind {
			case "event":
				var e struct {
					Kind, Flags                  uint16
					Code, Data, Len, Fields, Arg uint32
					ID                           uint64 `json:",string"`
				}
				value(&e)
				members := words(uint64(e.Kind), uint64(e.Flags), uint64(e.Code), e.ID, uint64(e.Data), uint64(e.Len), uint64(e.Fields), uint64(e.Arg))
				expect('e', b, members)
				expect('E', members, b)
			case "op":
				var o struct {
					Code, Flags        uint16
					Arg                uint32
					Request, Op, Arg64 uint64 `json:",string"`
					Fields, Body, Name [2]uint64
					Result             int32
				}
				value(&o)
				members := words(uint64(o.Code), uint64(o.Flags), uint64(o.Arg), o.Request, o.Op,
					o.Fields[0], o.Fields[1], o.Body[0], o.Body[1], o.Name[0], o.Name[1], o.Arg64, uint64(uint32(o.Result)))
				expect('o', b, members)
				expect('O', members, b)
			case "handshake":
				var h struct{ Version, Features uint32 }
				if value(&h); h.Version == abi.Version {
					expect('h', words(uint64(h.Features)), b)
				}
			case "fields":
				if v.Error != 0 {
					if n, _ := run(t, 'f', b); n != -int32(v.Error) {
						t.Errorf("got %d, want %d", n, -int32(v.Error))
					}
					return
				}
				want := b
				if len(b) == 0 {
					want = make([]byte, 4) // the other way to write no fields
				}
				expect('f', b, want)
			default:
				t.Errorf("unknown kind %q", v.Kind)
			}
		})
	}
	for _, kind := range []string{"event", "op", "handshake", "fields"} {
		if seen[kind] == 0 {
			t.Errorf("no vector of kind %q", kind)
		}
	}
}

// FuzzHeaderInC gives the readers of patchbay.h bytes that nobody would send, as a program under clang's sanitizers, and holds what
// they say against the Go codec. The first byte chooses the reader.
func FuzzHeaderInC(f *testing.F) {
	needClang(f)
	for _, v := range readVectors(f) {
		if b, err := hex.DecodeString(v.Hex); err == nil && v.Kind == "fields" {
			f.Add(append([]byte{0}, b...))
		}
	}
	for _, seed := range []string{"\x01\x01na=1&n=22&n=3", "\x01\x01nn", "\x01\x01nn=", "\x01\x00=4&=5", "\x01\x03n", "\x01\x01nn=99999999999999999999999"} {
		f.Add([]byte(seed))
	}
	program := filepath.Join(f.TempDir(), "header")
	cmd := exec.Command("clang", "-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-Wall", "-Wextra", "-Werror",
		"-Wno-unknown-attributes", "-Wno-ignored-attributes", "-o", program, headerSource()) // attributes of wasm
	if said, err := cmd.CombinedOutput(); err != nil {
		f.Fatalf("compile %s: %v\n%s", headerSource(), err, said)
	}
	run := sanitized(f, program)
	f.Fuzz(func(t *testing.T, b []byte) {
		switch {
		case len(b) == 0 || len(b) > 1<<17:
		case b[0]%2 == 0:
			n, out := run(t, 'f', b[1:])
			fields, err := abi.ParseBlock(b[1:])
			if want := abi.AppendBlock(nil, fields); err == nil && !bytes.Equal(out, want) {
				t.Errorf("the header reads %d %x, the Go codec %x", n, out, want)
			} else if err != nil && n != -int32(abi.Invalid) {
				t.Errorf("the header gives %d, the Go codec %v", n, err)
			}
		case len(b) > 1:
			name := string(b[2:][:min(int(b[1]), len(b)-2)])
			want := ""
			for part := range strings.SplitSeq(string(b[2+len(name):]), "&") {
				if value, ok := strings.CutPrefix(part, name+"="); ok {
					want = value
					break
				}
			}
			if _, out := run(t, 'q', b[1:]); string(out[8:]) != want {
				t.Errorf("%q is %q, want %q", name, out[8:], want)
			}
		}
	})
}

// sanitized starts the program and gives what has it run a case. It ends with its input.
func sanitized(f *testing.F, program string) func(t *testing.T, kind byte, in []byte) (int32, []byte) {
	f.Helper()
	var said bytes.Buffer
	cmd := exec.Command(program)
	cmd.Stderr = &said
	cases, err := cmd.StdinPipe()
	if err != nil {
		f.Fatal(err)
	}
	results, err := cmd.StdoutPipe()
	if err != nil {
		f.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		cases.Close()
		if err := cmd.Wait(); err != nil {
			f.Errorf("the program ended with %v\n%s", err, said.Bytes())
		}
	})
	var mu sync.Mutex
	return func(t *testing.T, kind byte, in []byte) (int32, []byte) {
		mu.Lock()
		defer mu.Unlock()
		_, err := cases.Write(append(binary.LittleEndian.AppendUint32([]byte{kind}, uint32(len(in))), in...))
		var head [4]byte
		if err == nil {
			_, err = io.ReadFull(results, head[:])
		}
		n := int32(binary.LittleEndian.Uint32(head[:]))
		out := make([]byte, max(n, 0))
		if err == nil {
			_, err = io.ReadFull(results, out)
		}
		if err != nil {
			_ = cmd.Wait()
			t.Fatalf("the program ended: %v\n%s", err, said.Bytes())
		}
		return n, out
	}
}
