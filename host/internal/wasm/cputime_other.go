//go:build !linux

package wasm

import "time"

// threadTime is not known here. It never goes forward, so that the wall's clock counts.
func threadTime() time.Duration { return 0 }
