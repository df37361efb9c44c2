// Package host_test holds the rules that no single package of the host can keep: who imports whom.
package host_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

const (
	modulePath = "github.com/patchbay-run/patchbay"
	wazeroPath = "github.com/tetratelabs/wazero"
)

// floors says on which floor a folder of the tree stands. A package imports only from lower floors, never
// from its own.
func floors() map[string]int {
	table := map[string]int{}
	for floor, folders := range [][]string{
		{"host/internal/config", "sdk/go/abi", "web", "host/internal/wasm/format", "host/internal/events"},
		{
			"host/internal/upstream", "host/internal/admission", "host/internal/cache", "host/internal/topics", "host/internal/telemetry",
			"host/internal/server", "host/internal/coordinate", "host/internal/demo", "host/internal/keys", "host/internal/logs", "host/internal/genai", "host/internal/handover",
			"host/internal/wasm/meter", "host/internal/wasm/snapshot", "host/internal/wasm/turns",
		},
		{"host/internal/wasm", "host/internal/trace"},
		{"host/internal/capability"},
		{"host/internal/plugin"},
		{"host/internal/route"},
		{"host/internal/admin", "host/internal/live", "host/internal/exposition"},
		{"host/internal/app"},
		{"host/cmd/patchbay", "host/bench", "host/bench/feed"},
	} {
		for _, folder := range folders {
			table[folder] = floor
		}
	}
	return table
}

// peers is what the benchmark compares the engine with. Each is a module of its own, so that the project inherits nothing of it.
const peers = "host/bench/peers"

// guesttest compiles guests for tests, leaktest waits for their goroutines, logtest keeps what they log, otlptest takes the spans they
// cause, pipetest connects without sockets. They stand on no floor: only tests import them.
const (
	guesttest = "host/internal/guesttest"
	leaktest  = "host/internal/leaktest"
	logtest   = "host/internal/logtest"
	otlptest  = "host/internal/otlptest"
	pipetest  = "host/internal/pipetest"
)

func forTests(folder string) bool {
	return folder == guesttest || folder == leaktest || folder == logtest || folder == otlptest || folder == pipetest
}

func TestFloors(t *testing.T) {
	for _, broken := range breaches(t, os.DirFS("..")) {
		t.Error(broken)
	}
}

// TestFloorsCanFail puts one mistake at a time into a small tree.
func TestFloorsCanFail(t *testing.T) {
	imports := func(what string) string { return "package x\nimport _ \"" + what + "\"\n" }
	ours := func(folder string) string { return imports(modulePath + "/" + folder) }
	for _, c := range []struct{ name, file, source, want string }{
		{"down", "host/internal/app/a.go", ours("host/internal/route"), ""},
		{"up", "host/internal/route/a.go", ours("host/internal/app"), "floor 5 imports host/internal/app of floor 7"},
		{"same floor", "host/internal/live/a.go", ours("host/internal/admin"), "floor 6 imports host/internal/admin of floor 6"},
		{"up in a test", "host/internal/config/a_test.go", ours("host/internal/wasm"), "floor 0 imports host/internal/wasm of floor 2"},
		{"a test of its own package", "host/internal/config/a_test.go", ours("host/internal/config"), ""},
		{"up on another system", "host/internal/wasm/a_plan9.go", ours("host/internal/plugin"), "floor 2 imports host/internal/plugin of floor 4"},
		{"unknown package", "host/internal/fresh/a.go", "package x\n", "host/internal/fresh is on no floor: add it to the table"},
		{"unknown import", "host/internal/app/a.go", ours("host/internal/fresh"), "host/internal/fresh is on no floor: add it to the table"},
		{"the SDK in the host", "host/internal/wasm/a.go", ours("sdk/go/plugin"), "sdk/go/plugin is on no floor: add it to the table"},
		{"wazero in the engine", "host/internal/wasm/a.go", imports(wazeroPath + "/api"), ""},
		{"wazero below the engine", "host/internal/wasm/meter/a_test.go", imports(wazeroPath), ""},
		{"wazero above the engine", "host/internal/plugin/a.go", imports(wazeroPath + "/api"), "only host/internal/wasm imports wazero"},
		{"guesttest in a test", "host/internal/app/a_test.go", ours(guesttest), ""},
		{"guesttest in the server", "host/internal/app/a.go", ours(guesttest), "only tests import host/internal/guesttest"},
		{"leaktest in the server", "host/internal/app/a.go", ours(leaktest), "only tests import host/internal/leaktest"},
		{"logtest in the server", "host/internal/app/a.go", ours(logtest), "only tests import host/internal/logtest"},
		{"otlptest in the server", "host/internal/app/a.go", ours(otlptest), "only tests import host/internal/otlptest"},
		{"init in the host", "host/internal/demo/a.go", "package x\nfunc init() {}\n", "has an init function"},
		{"init in a test", "host/internal/demo/a_test.go", "package x\nfunc init() {}\n", ""},
		{"a method named init", "host/internal/demo/a.go", "package x\ntype T struct{}\nfunc (T) init() {}\n", ""},
		{"init in a plugin", "plugins/search/main.go", "package x\nfunc init() {}\n", ""},
		{"the SDK in the SDK", "sdk/go/plugin/a.go", ours("sdk/go/abi"), ""},
		{"a library in the SDK", "sdk/go/plugin/a.go", imports("golang.org/x/sync"), "the SDK imports only itself and the standard library"},
		{"the host in the SDK", "sdk/go/plugin/a.go", ours("host/internal/config"), "the SDK imports only itself"},
		{"the SDK in a plugin", "plugins/search/a.go", ours("sdk/go/plugin"), ""},
		{"a plugin's own package", "plugins/search/a.go", ours("plugins/search/clean"), ""},
		{"the host in a plugin", "plugins/search/a.go", ours("host/internal/config"), "a plugin imports only the SDK"},
		{"another plugin in a plugin", "plugins/search/a_test.go", ours("plugins/models"), "a plugin imports only the SDK"},
		{"wazero in a peer", "host/bench/peers/extism/a_test.go", imports(wazeroPath), ""},
		{"the host in a peer", "host/bench/peers/extism/a_test.go", ours("host/internal/wasm"), "a peer of the benchmark imports nothing of ours"},
		{"a guest of the tests", "host/internal/wasm/testdata/guest/main.go", ours("sdk/go/plugin"), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := breaches(t, fstest.MapFS{c.file: {Data: []byte(c.source)}})
			if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)) {
				t.Errorf("breaches are %q, want %q", got, c.want)
			}
		})
	}
}

// breaches reads all Go files of the tree, whatever system they are for, and says which rules they break.
func breaches(t *testing.T, tree fs.FS) (all []string) {
	t.Helper()
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || len(name) > 1 && strings.HasPrefix(d.Name(), ".")):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go"):
			return nil
		}
		source, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, source, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, broken := range check(name, file) {
			all = append(all, name+": "+broken)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// check applies the rules of the part of the tree that a file is in.
func check(name string, file *ast.File) (broken []string) {
	var rule func(name, imported string) string
	switch folder := path.Dir(name); {
	case within(folder, "sdk/go"):
		rule = checkSDK
	case within(folder, "plugins"):
		rule = checkPlugin
	case within(folder, peers):
		rule = checkPeer
	case within(folder, "web"), within(folder, "host") && folder != "host":
		rule = checkHost
		if hasInit(file) && !isTest(name) {
			broken = append(broken, "has an init function; hand things in from app instead")
		}
		if _, known := floors()[folder]; !known && !forTests(folder) {
			return append(broken, folder+" is on no floor: add it to the table")
		}
	default:
		return nil
	}
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			broken = append(broken, err.Error())
			continue
		}
		if why := rule(name, imported); why != "" {
			broken = append(broken, why)
		}
	}
	return broken
}

// checkHost says what is wrong with an import of a file in host or web, or "".
func checkHost(name, imported string) string {
	const engine = "host/internal/wasm"
	from := path.Dir(name)
	if within(imported, wazeroPath) && !within(from, engine) {
		return "only " + engine + " imports wazero"
	}
	to, ours := strings.CutPrefix(imported, modulePath+"/")
	switch {
	case !ours || isTest(name) && (to == from || forTests(to)):
		return ""
	case forTests(to):
		return "only tests import " + to
	}
	upper := floors()[from]
	if forTests(from) {
		upper = 1 // so that the tests of any floor can use it
	}
	lower, known := floors()[to]
	switch {
	case !known:
		return to + " is on no floor: add it to the table"
	case lower >= upper:
		return fmt.Sprintf("floor %d imports %s of floor %d; a package imports only from lower floors", upper, to, lower)
	}
	return ""
}

func checkSDK(_, imported string) string {
	if within(imported, modulePath+"/sdk/go") || standard(imported) {
		return ""
	}
	return fmt.Sprintf("the SDK imports only itself and the standard library, not %s", imported)
}

func checkPeer(_, imported string) string {
	if within(imported, modulePath) {
		return "a peer of the benchmark imports nothing of ours"
	}
	return ""
}

func checkPlugin(name, imported string) string {
	folder := strings.Join(strings.Split(name, "/")[:2], "/")
	if within(imported, modulePath+"/sdk/go") || within(imported, modulePath+"/"+folder) || standard(imported) {
		return ""
	}
	return fmt.Sprintf("a plugin imports only the SDK, itself and the standard library, not %s", imported)
}

// standard says whether an import is of the standard library: only a module's path starts with a domain.
func standard(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return !strings.Contains(first, ".")
}

func within(name, folder string) bool { return name == folder || strings.HasPrefix(name, folder+"/") }

func isTest(name string) bool { return strings.HasSuffix(name, "_test.go") }

func hasInit(file *ast.File) bool {
	return slices.ContainsFunc(file.Decls, func(d ast.Decl) bool {
		f, ok := d.(*ast.FuncDecl)
		return ok && f.Recv == nil && f.Name.Name == "init"
	})
}
