// Package plugin reads, checks, loads and builds plugins: a .wasm file with its manifest, and the generation that one
// loaded version of it is.
package plugin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/patchbay-run/patchbay/host/internal/capability"
	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// Manifest is what a plugin says of itself. sdk/ABI.md, section 11.
type Manifest struct {
	Name    string          `json:"name"`
	Version string          `json:"version"`
	ABI     string          `json:"abi"`
	Routes  []Route         `json:"routes"`
	Wants   []Want          `json:"wants,omitempty"`
	Config  json.RawMessage `json:"config,omitempty"`
}

// Route is one that a plugin can answer.
type Route struct {
	Method  string `json:"method"`
	Path    string `json:"path"`
	Summary string `json:"summary,omitempty"`
	Streams bool   `json:"streams,omitempty"`
}

// String is the route as configurations write it.
func (r Route) String() string { return r.Method + " " + r.Path }

// Want is a capability that a plugin would like to have, and why.
type Want struct {
	Capability string   `json:"capability"`
	Hosts      []string `json:"hosts,omitempty"`
	Upstreams  []string `json:"upstreams,omitempty"`
	Topics     []string `json:"topics,omitempty"` // of "publish"
	Reason     string   `json:"reason,omitempty"`
}

// ParseManifest reads and checks a manifest. Every problem is in the error, each with its place.
func ParseManifest(b []byte) (*Manifest, error) {
	if len(b) > abi.MaxManifest {
		return nil, fmt.Errorf("the manifest has %d bytes, over %d", len(b), abi.MaxManifest)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	m := &Manifest{}
	if err := d.Decode(m); err != nil {
		return nil, fmt.Errorf("read the manifest: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("read the manifest: something follows the object")
	}
	if err := errors.Join(m.problems()...); err != nil {
		return nil, err
	}
	return m, nil
}

func (m *Manifest) problems() (problems []error) {
	add := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("manifest: "+format, args...))
	}
	if !regexp.MustCompile(`^[a-z][a-z0-9-]{0,63}$`).MatchString(m.Name) {
		add("name: %q is none: use a-z, 0-9 and -, beginning with a letter", m.Name)
	}
	if !regexp.MustCompile(`^\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?$`).MatchString(m.Version) || len(m.Version) > 64 {
		add("version: %q is not semantic: write 1.0.0", m.Version)
	}
	if m.ABI != fmt.Sprint(abi.Version) {
		add("abi: %q: this host speaks %q", m.ABI, fmt.Sprint(abi.Version))
	}
	if len(m.Routes) == 0 {
		add("routes: there is none, so the plugin could answer nothing")
	}
	for i, r := range m.Routes {
		if err := checkRoute(r); err != nil {
			add("routes[%d]: %w", i, err)
		}
		if slices.ContainsFunc(m.Routes[:i], func(o Route) bool { return o.String() == r.String() }) {
			add("routes[%d]: %s is there twice", i, r)
		}
	}
	for i, w := range m.Wants {
		if known := capability.Names(); !slices.Contains(known, w.Capability) {
			add("wants[%d]: there is no capability %q; there are %s", i, w.Capability, strings.Join(known, ", "))
		}
	}
	_, wrong := m.schema()
	for _, err := range wrong {
		add("%w", err)
	}
	return problems
}

func checkRoute(r Route) error {
	if !regexp.MustCompile(`^[A-Z]{1,16}$`).MatchString(r.Method) {
		return fmt.Errorf("method: %q is none: write it in capitals", r.Method)
	}
	if !strings.HasPrefix(r.Path, "/") || len(r.Path) > 1024 {
		return fmt.Errorf("path: %q does not begin with / or is over 1024 bytes", r.Path)
	}
	if r.Path == "/" {
		return nil
	}
	segments := strings.Split(r.Path[1:], "/")
	for i, s := range segments {
		name, isParam := strings.CutPrefix(s, "{")
		switch {
		case !isParam:
			if s == "" || s == "." || s == ".." || strings.ContainsAny(s, "{}?#%* \\") || strings.ContainsFunc(s, unicode.IsControl) {
				return fmt.Errorf("path: segment %q is neither plain text nor {name}", s)
			}
		case !regexp.MustCompile(`^[a-z_][a-zA-Z0-9_]*(\.\.\.)?\}$`).MatchString(name):
			return fmt.Errorf("path: segment %q is not {name}", s)
		case strings.HasSuffix(name, "...}") && i < len(segments)-1:
			return fmt.Errorf("path: %q takes the rest, so it must be the last segment", s)
		case slices.Contains(segments[:i], "{"+strings.TrimSuffix(strings.TrimSuffix(name, "}"), "...")+"}"):
			return fmt.Errorf("path: the name in %q is there twice", s)
		}
	}
	return nil
}

// maxReferences bounds how often a schema may refer to a part of itself: with two references a level, each level doubles the work of a check.
const maxReferences = 24

func references(schema any) (n int) {
	switch v := schema.(type) {
	case map[string]any:
		for key, value := range v {
			if key == "$ref" || key == "$dynamicRef" || key == "$recursiveRef" {
				n++
			}
			n += references(value)
		}
	case []any:
		for _, value := range v {
			n += references(value)
		}
	}
	return n
}

// schema compiles the JSON Schema of the configuration; nil when there is none.
func (m *Manifest) schema() (*jsonschema.Schema, []error) {
	if len(m.Config) == 0 {
		return nil, nil
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(m.Config))
	if err != nil {
		return nil, []error{fmt.Errorf("config: %w", err)}
	}
	if n := references(doc); n > maxReferences {
		return nil, []error{fmt.Errorf("config: the schema has %d references, over %d", n, maxReferences)}
	}
	const at = "manifest:///config" // absolute, else it would be made a file's
	c := jsonschema.NewCompiler()
	c.UseLoader(noLoader{})
	if err := c.AddResource(at, doc); err != nil {
		return nil, []error{fmt.Errorf("config: %w", err)}
	}
	schema, err := c.Compile(at)
	var invalid *jsonschema.SchemaValidationError
	if errors.As(err, &invalid) {
		return nil, violations("config (the schema)", invalid.Err)
	}
	if err != nil {
		return nil, []error{fmt.Errorf("config: %w", err)}
	}
	return schema, nil
}

// noLoader keeps a schema from reading files or the network.
type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("%s lies outside the manifest, and a manifest refers to nothing outside", url)
}

// CheckConfig holds a plugin's configuration against the manifest's schema. config is a JSON object. Each problem is an
// error of its own, which says where it is.
func (m *Manifest) CheckConfig(config []byte) []error {
	schema, problems := m.schema()
	if schema == nil {
		return problems
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(config))
	if err != nil {
		return []error{fmt.Errorf("config: %w", err)}
	}
	return violations("config", schema.Validate(value))
}

// violations are the rules of a schema that were broken, each with its place below root; none for a nil error.
func violations(root string, err error) (problems []error) {
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", root, err))
		}
		return problems
	}
	leaves(invalid, func(e *jsonschema.ValidationError) {
		where := root
		for _, key := range e.InstanceLocation {
			where += "." + key
		}
		problems = append(problems, fmt.Errorf("%s: %s", where, reason(e)))
	})
	return problems
}

func leaves(e *jsonschema.ValidationError, each func(*jsonschema.ValidationError)) {
	if len(e.Causes) == 0 {
		each(e)
	}
	for _, c := range e.Causes {
		leaves(c, each)
	}
}

// routeNames are the routes in the order in which requests name them.
func (m *Manifest) routeNames() []string {
	names := make([]string, len(m.Routes))
	for i, r := range m.Routes {
		names[i] = r.String()
	}
	return names
}
