package keys

// WithID puts the id of another key into a key, and makes the checksum anew.
func WithID(key, of string) string {
	body := of[:idEnd] + key[idEnd:secretEnd]
	check := checksum(body)
	return body + string(check[:])
}

// Parse is parse.
func Parse(key string) (id string, ok bool) { return parse(key) }
