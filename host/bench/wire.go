package main

import (
	"bufio"
	"bytes"
	"fmt"
	"strconv"
)

// readMessage reads one HTTP/1.1 message and drops its body. It gives a response's status and the body's length. Load and mock share the
// processor with the server, so this does as little as can be.
func readMessage(r *bufio.Reader) (status, length int, err error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return 0, 0, err
	}
	if rest, ok := bytes.CutPrefix(line, []byte("HTTP/1.1 ")); ok && len(rest) >= 3 {
		if status, err = strconv.Atoi(string(rest[:3])); err != nil {
			return 0, 0, fmt.Errorf("read a response: its status: %w", err)
		}
	}
	chunked := false
	for {
		if line, err = r.ReadSlice('\n'); err != nil {
			return 0, 0, err
		}
		name, value, ok := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte(":"))
		switch {
		case !ok && len(name) == 0:
			if chunked {
				length, err = dropChunks(r)
				return status, length, err
			}
			_, err = r.Discard(length)
			return status, length, err
		case bytes.EqualFold(name, []byte("content-length")):
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return 0, 0, fmt.Errorf("read a message: its length: %w", err)
			}
		case bytes.EqualFold(name, []byte("transfer-encoding")):
			chunked = true
		}
	}
}

func dropChunks(r *bufio.Reader) (length int, err error) {
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		n, err := strconv.ParseUint(string(bytes.TrimRight(line, "\r\n")), 16, 31)
		if err != nil {
			return 0, fmt.Errorf("read a chunk: %w", err)
		}
		if _, err := r.Discard(int(n) + len("\r\n")); err != nil {
			return 0, err
		}
		if length += int(n); n == 0 {
			return length, nil
		}
	}
}
