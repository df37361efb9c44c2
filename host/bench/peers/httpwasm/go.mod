module github.com/patchbay-run/patchbay/host/bench/peers/httpwasm

go 1.26.0

require github.com/http-wasm/http-wasm-host-go v0.7.0

require (
	github.com/tetratelabs/wazero v1.12.0 // indirect
	golang.org/x/sys v0.44.0 // indirect
)
