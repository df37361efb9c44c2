package meter

import (
	"fmt"
	"strings"
)

// Options bounds what a module may contain. A zero field takes its default.
type Options struct {
	// Module and Tick name the imported tick function. Module is also a reserved prefix: a guest that
	// imports from, or exports, a name that begins with it is refused.
	Module, Tick string

	// MaxModuleBytes bounds the whole input, in bytes.
	MaxModuleBytes uint32
	// MaxTypes bounds the function types, MaxParams the parameters of one type and, apart, its results.
	MaxTypes, MaxParams uint32
	// MaxImports, MaxFunctions, MaxGlobals, MaxExports and MaxTables bound the entries of their sections;
	// functions, globals and tables are counted with the imported ones.
	MaxImports, MaxFunctions, MaxGlobals, MaxExports, MaxTables uint32
	// MaxBodyBytes bounds one function body, in bytes, and MaxLocals its parameters and locals together.
	MaxBodyBytes, MaxLocals uint32
	// MaxJoins bounds, for each function, its locals times the places in it where branches meet. wazero may keep each local anew at
	// each such place, 4 bytes in the middle, so this bounds the largest frame on the machine stack.
	MaxJoins uint32
	// MaxDepth bounds the nesting of blocks, MaxBranchTable the labels of one br_table.
	MaxDepth, MaxBranchTable uint32
	// MaxTable bounds the entries of one table: larger or absent maxima are lowered to it,
	// a larger minimum is an error.
	MaxTable uint32
	// MaxMemoryPages bounds the memory in pages of 64 KiB in the same way.
	MaxMemoryPages uint32
	// MaxElementSegments and MaxDataSegments bound the segments, MaxElements the entries of all element
	// segments together.
	MaxElementSegments, MaxElements, MaxDataSegments uint32
	// MaxCustomSections bounds the custom sections.
	MaxCustomSections uint32
	// MaxName bounds one import, export or section name, in bytes.
	MaxName uint32
}

// DefaultOptions returns the limits that apply where Options has a zero. They leave several times the room that
// large Go, Rust and C guests were seen to need.
func DefaultOptions() Options {
	return Options{
		Module:             "patchbay_meter",
		Tick:               "tick",
		MaxModuleBytes:     64 << 20,
		MaxTypes:           10_000,
		MaxParams:          255,
		MaxImports:         1_000,
		MaxFunctions:       100_000,
		MaxGlobals:         10_000,
		MaxExports:         10_000,
		MaxTables:          16,
		MaxBodyBytes:       4 << 20,
		MaxLocals:          10_000,
		MaxJoins:           4 << 20,
		MaxDepth:           20_000,
		MaxBranchTable:     65_536,
		MaxTable:           65_536,
		MaxMemoryPages:     4_096, // 256 MiB
		MaxElementSegments: 10_000,
		MaxElements:        1 << 20,
		MaxDataSegments:    65_536,
		MaxCustomSections:  1_000,
		MaxName:            1_024,
	}
}

// withDefaults fills every zero field.
func (o Options) withDefaults() Options {
	d := DefaultOptions()
	str := func(v *string, d string) {
		if *v == "" {
			*v = d
		}
	}
	num := func(v *uint32, d uint32) {
		if *v == 0 {
			*v = d
		}
	}
	str(&o.Module, d.Module)
	str(&o.Tick, d.Tick)
	num(&o.MaxModuleBytes, d.MaxModuleBytes)
	num(&o.MaxTypes, d.MaxTypes)
	num(&o.MaxParams, d.MaxParams)
	num(&o.MaxImports, d.MaxImports)
	num(&o.MaxFunctions, d.MaxFunctions)
	num(&o.MaxGlobals, d.MaxGlobals)
	num(&o.MaxExports, d.MaxExports)
	num(&o.MaxTables, d.MaxTables)
	num(&o.MaxBodyBytes, d.MaxBodyBytes)
	num(&o.MaxLocals, d.MaxLocals)
	num(&o.MaxJoins, d.MaxJoins)
	num(&o.MaxDepth, d.MaxDepth)
	num(&o.MaxBranchTable, d.MaxBranchTable)
	num(&o.MaxTable, d.MaxTable)
	num(&o.MaxMemoryPages, d.MaxMemoryPages)
	num(&o.MaxElementSegments, d.MaxElementSegments)
	num(&o.MaxElements, d.MaxElements)
	num(&o.MaxDataSegments, d.MaxDataSegments)
	num(&o.MaxCustomSections, d.MaxCustomSections)
	num(&o.MaxName, d.MaxName)
	return o
}

// Ceilings of the options themselves: past them the 32-bit arithmetic of the charges, or of the format, would not hold.
const (
	maxModuleBytes = 1 << 30
	maxBodyBytes   = 16 << 20
	maxPages       = 1 << 16
	maxTableSize   = 1 << 24
)

// check refuses options that the rewriter cannot keep.
func (o Options) check() error {
	for _, c := range []struct {
		name       string
		value, max uint32
	}{
		{"MaxModuleBytes", o.MaxModuleBytes, maxModuleBytes},
		{"MaxBodyBytes", o.MaxBodyBytes, maxBodyBytes},
		{"MaxMemoryPages", o.MaxMemoryPages, maxPages},
		{"MaxTable", o.MaxTable, maxTableSize},
	} {
		if c.value > c.max {
			return fmt.Errorf("meter options: %s is %d, set it to %d or less", c.name, c.value, c.max)
		}
	}
	return nil
}

// reserved says whether a guest may not use this name.
func (o Options) reserved(name string) bool { return strings.HasPrefix(name, o.Module) }
