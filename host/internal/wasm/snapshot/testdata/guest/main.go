//go:build wasip1

// Command guest is what the tests and benchmarks of snapshots start: it has state from its initialisation, allocates,
// starts goroutines, reads clocks and random numbers.
package main

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	random "math/rand/v2"
	"sync"
	"time"
)

func main() {}

var (
	begun   time.Time
	words   map[string]int
	written int64
	kept    [][]byte
)

func init() {
	begun = time.Now()
	if err := json.Unmarshal([]byte(`{"one": 1, "two": 2, "three": 3}`), &words); err != nil {
		panic(err)
	}
	for i := range 64 {
		kept = append(kept, make([]byte, 1<<10+i))
	}
}

// work allocates n slices of 4 KiB and looks what initialisation made.
//
//go:wasmexport work
func work(n int32) int32 {
	for i := range n {
		kept[i&63] = make([]byte, 4096)
		kept[i&63][i] = 1
	}
	return int32(words["three"]) + int32(len(kept))
}

// spawn starts n goroutines that sleep, and adds up what they send.
//
//go:wasmexport spawn
func spawn(n int32) int32 {
	var wg sync.WaitGroup
	sum := make(chan int32, n)
	for i := range n {
		wg.Go(func() {
			time.Sleep(time.Microsecond)
			sum <- i
		})
	}
	wg.Wait()
	total := int32(0)
	for range n {
		total += <-sum
	}
	return total
}

// hold keeps n MiB of memory alive.
//
//go:wasmexport hold
func hold(n int32) int32 {
	for range n {
		b := make([]byte, 1<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		kept = append(kept, b)
	}
	return int32(len(kept))
}

// walltime is the time of day, in nanoseconds.
//
//go:wasmexport walltime
func walltime() int64 { return time.Now().UnixNano() }

// age is the time since initialisation by the monotonic clock, in nanoseconds.
//
//go:wasmexport age
func age() int64 { return int64(time.Since(begun)) }

// secret is random bytes of the host.
//
//go:wasmexport secret
func secret() int64 {
	var b [8]byte
	rand.Read(b[:])
	return int64(binary.LittleEndian.Uint64(b[:]))
}

// dice is a random number of the guest's own generator.
//
//go:wasmexport dice
func dice() int64 { return random.Int64() }

// swap writes a global and returns what it was.
//
//go:wasmexport swap
func swap(v int64) int64 {
	old := written
	written = v
	return old
}
