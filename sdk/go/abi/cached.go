package abi

import (
	"strconv"
	"strings"
	"time"
)

// AppendCached appends to the headers of an answer what goes with its value from the cache: the headers that were kept with that, its age (RFC 9111, 5.1:
// that which it had when it was kept, and the time since), and where it is from, as X-Cache has it.
func AppendCached(headers, kept []Field, since time.Duration, state string) []Field {
	age := uint64(max(since, 0) / time.Second)
	for _, f := range kept {
		if !strings.EqualFold(f.Name, "age") {
			headers = append(headers, f)
		} else if before, err := strconv.ParseUint(f.Value, 10, 32); err == nil {
			age += before
		}
	}
	return append(headers, Field{Name: "age", Value: strconv.FormatUint(age, 10)}, Field{Name: "x-cache", Value: state})
}
