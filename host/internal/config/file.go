package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/knadh/koanf/maps"
	"go.yaml.in/yaml/v3"
)

// The bounds of a file. Aliases can make a small file large, so what they lead to is counted each
// time that it is met.
const (
	maxFile  = 1 * MiB
	maxNodes = 20_000
	maxDepth = 32
	maxKey   = 128 // bytes of a key
)

// quotedStyle has the styles of a scalar that is text, whatever it looks like.
const quotedStyle = yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle

// fileReader turns a YAML file into a layer. It knows the types only so far as to tell known keys
// from unknown ones; whether a value fits its type is found by decode.
type fileReader struct {
	name   string
	expand expander
	report *report
	layer  *layer
	open   map[*yaml.Node]bool // anchors that are being read, to see one that contains itself

	nodes   int   // read so far
	stopped error // a bound was met: nothing more is read
}

// spend counts values, and reports whether reading may go on.
func (f *fileReader) spend(values int) bool {
	f.nodes += values
	if f.nodes > maxNodes && f.stopped == nil {
		f.stopped = fmt.Errorf("the file holds more than %d values, aliases counted as often as they are used", maxNodes)
	}
	return f.stopped == nil
}

// readFile reads the file into a layer and reports what is wrong with it. It returns false when
// the values are not all known, as after a syntax error.
func readFile(name string, environ map[string]string, r *report) (*layer, bool) {
	return readSection(name, nil, reflect.TypeFor[Config](), environ, r)
}

// readSection is readFile for a file that holds one section of the configuration, of type t, which belongs at p.
func readSection(name string, p path, t reflect.Type, environ map[string]string, r *report) (*layer, bool) {
	l := newLayer()
	at := origin{source: name}
	text, err := readBounded(name)
	if err != nil {
		r.add(at, nil, "%v", err)
		return l, false
	}
	root, at, err := parse(name, text)
	if err != nil {
		r.add(at, nil, "%v", err)
		return l, false
	}
	if root == nil {
		return l, true
	}
	f := &fileReader{name: name, expand: expander{environ: environ}, report: r, layer: l, open: map[*yaml.Node]bool{}}
	value, _ := f.value(root, p, t)
	if f.stopped != nil {
		r.add(origin{source: name}, nil, "%v", f.stopped)
		return l, false
	}
	switch v := value.(type) {
	case nil: // only comments, or null
	case map[string]any:
		for i := len(p) - 1; i >= 0; i-- {
			v = map[string]any{p[i]: v}
		}
		l.values = v
	default:
		r.add(origin{source: name, line: root.Line}, nil, "want keys such as %s, got %s", ends(fieldNames(t)), describe(v))
		return l, false
	}
	return l, true
}

// ends names the first of a list and the last.
func ends(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return names[0] + " and " + names[len(names)-1]
}

// readBounded returns the text of the file.
func readBounded(name string) ([]byte, error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		folder, _ := os.Getwd()
		return nil, fmt.Errorf("there is no such file; relative paths start at %s", folder)
	}
	if err != nil {
		return nil, fmt.Errorf("open the file: %w", withoutName(err))
	}
	defer func() { _ = f.Close() }() // it was only read
	text, err := io.ReadAll(io.LimitReader(f, int64(maxFile)+1))
	if err != nil {
		return nil, fmt.Errorf("read the file: %w", withoutName(err))
	}
	if len(text) > int(maxFile) {
		return nil, fmt.Errorf("the file is larger than %v", maxFile)
	}
	return text, nil
}

// withoutName drops the name of the file from an error, since a Problem begins with it.
func withoutName(err error) error {
	var named *fs.PathError
	if errors.As(err, &named) {
		return named.Err
	}
	return err
}

// parse returns the one document of a YAML text, nil when there is none. Nothing is expanded yet.
func parse(name string, text []byte) (*yaml.Node, origin, error) {
	at := origin{source: name}
	var document, second yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return nil, at, nil
	} else if err != nil {
		at.line, err = syntaxError(err)
		return nil, at, err
	}
	if err := decoder.Decode(&second); err == nil {
		at.line = second.Line
		return nil, at, errors.New("a second document starts here; one file holds one")
	} else if !errors.Is(err, io.EOF) {
		at.line, err = syntaxError(err)
		return nil, at, err
	}
	return document.Content[0], at, nil
}

// syntaxError takes the line out of an error of the YAML parser, which keeps it in its text only.
func syntaxError(err error) (line int, _ error) {
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	if m := regexp.MustCompile(`^line (\d+): `).FindStringSubmatch(message); m != nil {
		line, _ = strconv.Atoi(m[1])
		message = message[len(m[0]):]
	}
	return line, errors.New(message)
}

// value returns what a node holds: map[string]any, []any, string, bool, an integer, float64 or
// nil. ok is false when there is nothing to keep, because it is wrong or says nothing.
func (f *fileReader) value(n *yaml.Node, p path, t reflect.Type) (v any, ok bool) {
	if !f.spend(1) {
		return nil, false
	}
	at := origin{source: f.name, line: n.Line}
	if len(p) > maxDepth {
		return f.refuse(at, p, "nested deeper than %d levels", maxDepth)
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
		if f.open[n] {
			return f.refuse(at, p, "the anchor %s contains itself", shown(n.Anchor))
		}
	}
	f.open[n] = true
	defer delete(f.open, n)

	if n.Kind == yaml.ScalarNode {
		at.ref = reference(n)
	}
	f.layer.places.put(p, at)
	if !knownTag(n.ShortTag()) {
		return f.refuse(at, p, "the tag %s has no meaning here; leave it out", shown(n.Tag))
	}
	switch n.Kind {
	case yaml.MappingNode:
		return f.mapping(n, p, t), true
	case yaml.SequenceNode:
		return f.sequence(n, p, t), true
	}
	v, err := f.scalar(n, t)
	if errors.Is(err, errExpanded) {
		f.stopped = err
		return nil, false
	}
	if err != nil {
		return f.refuse(at, p, "%v", err)
	}
	return v, v != nil || shapeOf(t) == free
}

// refuse reports a value that cannot be known.
func (f *fileReader) refuse(at origin, p path, format string, args ...any) (any, bool) {
	f.report.add(at, p, format, args...)
	f.report.broken.add(p)
	return nil, false
}

// mapping reads a section, named entries or a free map. Where the type is something else, decode
// finds out; it needs only to see that a map was there.
func (f *fileReader) mapping(n *yaml.Node, p path, t reflect.Type) map[string]any {
	values := map[string]any{}
	shape := shapeOf(t)
	if shape == scalar || shape == list {
		return values
	}
	pairs := f.pairs(n, p)
	for _, pair := range pairs {
		at := origin{source: f.name, line: pair.line}
		var elem reflect.Type
		switch shape {
		case section:
			elem = fieldType(t, pair.key)
			if elem == nil {
				f.unknown(at, p, t, pair.key, pairs)
				continue
			}
		case entries:
			elem = t.Elem()
			if !isName(pair.key) {
				f.refuse(at, p.key(pair.key), "want a name of lower-case letters, digits and single dashes or underscores between them")
				continue
			}
		}
		v, ok := f.value(pair.node, p.key(pair.key), elem)
		if !ok && shape == entries && isNull(pair.node) {
			v, ok = map[string]any{}, true // a name with nothing behind it is an entry all the same
		}
		if !ok {
			continue
		}
		// Of a key given twice both values are read, so that mistakes in either are found.
		if first, again := values[pair.key].(map[string]any); again {
			if second, isMap := v.(map[string]any); isMap {
				maps.Merge(second, first)
				continue
			}
		}
		values[pair.key] = v
	}
	return values
}

// unknown reports a key that the section does not have. The key that was probably meant counts as
// broken, so that nobody reports it missing as well.
func (f *fileReader) unknown(at origin, p path, t reflect.Type, key string, pairs []pair) {
	meant := nearest(key, fieldNames(t))
	if meant == "" {
		f.report.add(at, p.key(key), "unknown key; known here: %s", strings.Join(fieldNames(t), ", "))
		return
	}
	f.report.add(at, p.key(key), "unknown key; the nearest known one is %s", meant)
	for _, other := range pairs {
		if other.key == meant {
			return
		}
	}
	f.report.broken.add(p.key(meant))
}

// sequence reads a list.
func (f *fileReader) sequence(n *yaml.Node, p path, t reflect.Type) []any {
	values := []any{}
	var elem reflect.Type
	switch shapeOf(t) {
	case scalar, section, entries:
		return values
	case list:
		elem = t.Elem()
	}
	for i, item := range n.Content {
		v, ok := f.value(item, p.index(i), elem)
		if !ok {
			if isNull(item) {
				f.refuse(origin{source: f.name, line: item.Line}, p.index(i), "an empty entry; fill it in or leave out its dash")
			}
			v = zeroOf(elem)
		}
		values = append(values, v)
	}
	return values
}

// scalar reads one text, number or boolean, and expands what it refers to.
func (f *fileReader) scalar(n *yaml.Node, t reflect.Type) (any, error) {
	text, changed, err := f.expand.expand(n.Value)
	if err != nil {
		return nil, err
	}
	switch {
	case n.Style&quotedStyle != 0 || n.Style&yaml.TaggedStyle != 0 && n.ShortTag() == "!!str":
		return text, nil
	case changed && (text == "" || t != nil && isText(t)):
		return text, nil
	}
	return resolve(text)
}

// resolve gives a plain text the type that YAML sees in it.
func resolve(text string) (any, error) {
	n := yaml.Node{Kind: yaml.ScalarNode, Value: text}
	switch n.ShortTag() {
	case "!!null":
		return nil, nil
	case "!!bool", "!!int", "!!float":
		var v any
		if err := n.Decode(&v); err != nil {
			return nil, errors.New("not a number")
		}
		if x, ok := v.(float64); ok && (math.IsNaN(x) || math.IsInf(x, 0)) {
			return nil, fmt.Errorf("%s is no number that a setting can have", text)
		}
		return v, nil
	}
	return text, nil // a timestamp too: no setting is one
}

// reference returns how a scalar that refers to variables was written, for messages: what a
// variable holds may be a secret and is never shown. It is "" for any other scalar.
func reference(n *yaml.Node) string {
	switch {
	case !strings.Contains(n.Value, "${"):
		return ""
	case n.Style&quotedStyle == 0 && len(n.Value) <= maxKey:
		return n.Value
	}
	return shown(n.Value)
}

// knownTag reports whether a value of this tag is one that JSON could hold.
func knownTag(tag string) bool {
	switch tag {
	case "!!map", "!!seq", "!!str", "!!int", "!!float", "!!bool", "!!null", "!!timestamp", "!!merge":
		return true
	}
	return false
}

// isNull reports whether a node was left empty.
func isNull(n *yaml.Node) bool {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}
