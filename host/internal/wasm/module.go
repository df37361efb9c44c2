package wasm

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero/api"

	"github.com/patchbay-run/patchbay/host/internal/wasm/meter"
	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

type signature struct {
	params, results []api.ValueType
}

func (s signature) String() string {
	names := func(types []api.ValueType) string {
		var out []string
		for _, t := range types {
			out = append(out, api.ValueTypeName(t))
		}
		return "(" + strings.Join(out, ", ") + ")"
	}
	return names(s.params) + " -> " + names(s.results)
}

func (s signature) is(d api.FunctionDefinition) bool {
	return slices.Equal(s.params, d.ParamTypes()) && slices.Equal(s.results, d.ResultTypes())
}

const (
	i32 = api.ValueTypeI32
	i64 = api.ValueTypeI64
)

// exports is what a module must offer.
func exports() map[string]signature {
	return map[string]signature{
		abi.ExportHandshake: {[]api.ValueType{i32, i32, i64}, []api.ValueType{i64}},
		abi.ExportPoll:      {},
	}
}

// check holds a compiled module against the ABI, so that a wrong one fails when it is loaded and not when it serves.
func (c *compiled) check() error {
	var problems []error
	have := c.module.ExportedFunctions()
	for name, want := range exports() {
		switch d, ok := have[name]; {
		case !ok:
			problems = append(problems, fmt.Errorf("it does not export %s %v: build it with an SDK of ABI %d", name, want, abi.Version))
		case !want.is(d):
			problems = append(problems, fmt.Errorf("its export %s is %v, not %v", name, signature{d.ParamTypes(), d.ResultTypes()}, want))
		}
	}
	if d, ok := have["_initialize"]; ok && !(signature{}).is(d) {
		problems = append(problems, fmt.Errorf("its export _initialize is %v, not %v", signature{d.ParamTypes(), d.ResultTypes()}, signature{}))
	}
	if _, ok := have["_start"]; ok {
		problems = append(problems, errors.New("it exports _start: it is a command, not a reactor; for Go, build with -buildmode=c-shared"))
	}
	memory, ok := c.module.ExportedMemories()["memory"]
	if !ok {
		problems = append(problems, errors.New("it does not export its memory as memory"))
	} else {
		c.memory = uint64(memory.Min()) << 16
	}
	for _, f := range c.module.ImportedFunctions() {
		module, name, _ := f.Import()
		if err := checkImport(module, name, f); err != nil {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

// Vet says what would keep a module from being loaded, as far as that shows without compiling it: what it holds that is over
// the host's bounds or unknown to it, and what it imports.
func Vet(binary []byte) error {
	metered, err := meterModule(binary)
	if err != nil {
		return fmt.Errorf("read the module: %w", err)
	}
	return checkOwn(metered.Imports)
}

// checkOwn refuses imports of anything but functions, which wazero would only miss when it instantiates.
func checkOwn(imports []meter.Import) error {
	var problems []error
	for _, i := range imports {
		if i.Kind != "func" {
			problems = append(problems, fmt.Errorf("it imports the %s %s.%s: this host offers functions, and a plugin brings its own", i.Kind, i.Module, i.Name))
		}
	}
	return errors.Join(problems...)
}

func checkImport(module, name string, f api.FunctionDefinition) error {
	switch module {
	case "wasi_snapshot_preview1":
		return nil // wazero checks names and types of its own functions when it instantiates
	case meter.DefaultOptions().Module:
		return nil // put in by us: a guest's own import of that name does not get this far
	case abi.ImportModule:
		for _, i := range imports() {
			if i.name != name {
				continue
			}
			if !i.is(f) {
				return fmt.Errorf("it imports %s.%s as %v, not %v", module, name, signature{f.ParamTypes(), f.ResultTypes()}, i.signature)
			}
			return nil
		}
	}
	return fmt.Errorf("it imports %s.%s, which this host does not offer", module, name)
}
