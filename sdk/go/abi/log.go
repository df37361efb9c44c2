package abi

import (
	"encoding/json"
	"strconv"
	"strings"
)

// LogMark stands in a line of the log between its text and its fields, which are one JSON object; sdk/ABI.md, section 2. (RFC 7464
// uses it in front of JSON too.)
const LogMark = '\x1e'

// What of a line's fields a host keeps. A longer text is cut, more fields and longer names are left out.
const (
	MaxLogFields = 32
	MaxLogName   = 64   // bytes
	MaxLogValue  = 1024 // bytes of a text
)

// LogField is one of them. Value is a string, an int64, a float64, a bool or nil.
type LogField struct {
	Name  string
	Value any
}

// ParseLog takes a line of the log apart. left is how many fields at least were left out. What has no fields is all text, and so is
// what follows the mark when that is no object.
func ParseLog(line string) (text string, fields []LogField, left int) {
	at := strings.LastIndexByte(line, LogMark)
	if at < 0 {
		return line, nil, 0
	}
	d := json.NewDecoder(strings.NewReader(line[at+1:]))
	d.UseNumber()
	if begin, err := d.Token(); err != nil || begin != json.Delim('{') {
		return line, nil, 0
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			break
		}
		value, err := d.Token()
		if _, nested := value.(json.Delim); err != nil || nested {
			break // what follows cannot be told apart
		}
		key, _ := name.(string)
		if key == "" || len(key) > MaxLogName || len(fields) == MaxLogFields {
			left++
			continue
		}
		fields = append(fields, LogField{key, logValue(value)})
	}
	if end, err := d.Token(); err != nil || end != json.Delim('}') {
		left++
	}
	return line[:at], fields, left
}

func logValue(v json.Token) any {
	switch v := v.(type) {
	case string:
		if len(v) > MaxLogValue {
			return strings.ToValidUTF8(v[:MaxLogValue], "") + "…"
		}
		return v
	case json.Number:
		if n, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return n
		}
		if f, err := v.Float64(); err == nil {
			return f
		}
		return logValue(v.String())
	}
	return v
}
