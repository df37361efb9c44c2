// Command guest is an Extism plugin in Go, by its own PDK: what the benchmarks ask of ours.
package main

import "github.com/extism/go-pdk"

func main() {}

//go:wasmexport noop
func noop() int32 { return 0 }

//go:wasmexport echo
func echo() int32 {
	pdk.Output(pdk.Input())
	return 0
}
