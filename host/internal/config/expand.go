package config

import (
	"fmt"
	"strings"
)

// maxExpanded bounds the text that ${VAR} may make of one file: a megabyte of "${A}${A}…" with a
// long A would be hundreds of gigabytes.
const maxExpanded = 4 << 20

// errExpanded says that a file met maxExpanded.
var errExpanded = fmt.Errorf("the variables of this file expand to more than %v", Bytes(maxExpanded))

// expander replaces ${VAR} and ${VAR:-default} in one file.
type expander struct {
	environ map[string]string
	spent   int // bytes of text made so far
}

// expand replaces the references in s: ${VAR} by the variable, which must be set; ${VAR:-default}
// by the default when the variable is unset or empty, as a shell does; $$ by a dollar. A dollar
// before anything else stays. It works on the text of one parsed value: what a variable holds
// never meets the YAML parser. changed is false when s holds no reference.
func (e *expander) expand(s string) (out string, changed bool, err error) {
	if !strings.Contains(s, "${") && !strings.Contains(s, "$$") {
		return s, false, nil
	}
	var b strings.Builder
	rest := s
	for {
		dollar := strings.IndexByte(rest, '$')
		if dollar < 0 || dollar == len(rest)-1 {
			b.WriteString(rest)
			break
		}
		b.WriteString(rest[:dollar])
		rest = rest[dollar:]
		switch rest[1] {
		case '$':
			b.WriteByte('$')
			rest = rest[2:]
		case '{':
			reference, after, closed := strings.Cut(rest[2:], "}")
			if !closed {
				return "", false, fmt.Errorf("%s has no closing brace; $$ is a plain dollar", shown(rest))
			}
			value, err := e.resolve(reference)
			if err != nil {
				return "", false, err
			}
			b.WriteString(value)
			rest = after
		default:
			b.WriteByte('$')
			rest = rest[1:]
		}
		if e.spent+b.Len() > maxExpanded {
			return "", false, errExpanded
		}
	}
	e.spent += b.Len()
	return b.String(), true, nil
}

// resolve returns what the text between "${" and "}" stands for.
func (e *expander) resolve(reference string) (string, error) {
	name, def, hasDefault := strings.Cut(reference, ":-")
	if !isVariable(name) {
		return "", fmt.Errorf("%s is not a reference; write ${NAME} or ${NAME:-default}, and $$ for a plain dollar", shown("${"+reference+"}"))
	}
	if strings.Contains(def, "${") {
		return "", fmt.Errorf("the default of ${%s} holds another reference, and references do not nest", name)
	}
	value, set := e.environ[name]
	switch {
	case hasDefault && value == "":
		return def, nil
	case !set:
		return "", fmt.Errorf("the variable %s is not set; set it, or give a default with ${%s:-…}", name, name)
	}
	return value, nil
}

// isVariable reports whether s can be the name of an environment variable.
func isVariable(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// environment turns NAME=value pairs into a map. Of a name given twice the first counts, as
// os.Getenv has it.
func environment(pairs []string) map[string]string {
	env := make(map[string]string, len(pairs))
	for _, pair := range pairs {
		name, value, ok := strings.Cut(pair, "=")
		if _, taken := env[name]; ok && !taken {
			env[name] = value
		}
	}
	return env
}
