package abi

import "strings"

// HostHeader says whether a header of a FETCH, by its name in lower case, is the host's to set: it speaks of the connection, of where the
// request goes or of whom it is from.
func HostHeader(name string) bool {
	switch name {
	case "host", "connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "content-length", "expect",
		"http2-settings", "forwarded", "via", "x-real-ip":
		return true
	}
	return strings.HasPrefix(name, "proxy-") || strings.HasPrefix(name, "x-forwarded-")
}
