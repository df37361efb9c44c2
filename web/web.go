// Package web holds the files that browsers read.
package web

import _ "embed"

// ConfigJS is what the chat page reads first: an empty address keeps all its calls on the origin it came from.
//
//go:embed config.js
var ConfigJS string
