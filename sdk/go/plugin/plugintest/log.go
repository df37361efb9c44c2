package plugintest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// maxLine is how much of a line a server keeps, in bytes.
const maxLine = 8 << 10

// flat is a line of the log with its fields as key=value, a text quoted where it would not be read as one word.
func flat(line string) string {
	text, fields, _ := abi.ParseLog(line[:min(len(line), maxLine)])
	var b strings.Builder
	b.WriteString(text)
	for _, f := range fields {
		value := fmt.Sprint(f.Value)
		if value == "" || slices.ContainsFunc([]rune(value), func(r rune) bool { return r <= ' ' || r == '"' || r == '=' || r == 0x7f }) {
			value = strconv.Quote(value)
		}
		b.WriteString(" " + f.Name + "=" + value)
	}
	return b.String()
}
