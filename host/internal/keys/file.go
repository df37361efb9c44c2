package keys

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/patchbay-run/patchbay/host/internal/config"
)

// fileHead stands at the top of a file that is made.
const fileHead = "# API keys of Patchbay, as hashes. 'patchbay key' writes this file, and a server whose auth.keys_file it is takes a change up\n# while it runs. Comments stay.\n"

// lockPatience is how long a change waits for another one of the same file.
const lockPatience = 3 * time.Second

// Append adds a key to a file of keys, and makes the file (0600) when there is none. environ is what ${VAR} in it may name.
func Append(path string, environ []string, k config.Key) error {
	return edit(path, environ, func(list *yaml.Node) error {
		if entryOf(list, k.Name) != nil {
			return fmt.Errorf("there is a key named %q already: choose another name; one that is revoked keeps its name until it is taken out of the file", k.Name)
		}
		list.Content = append(list.Content, node(k))
		return nil
	})
}

// Revoke disables a key of a file. Its entry stays, so that whoever still sends the key is told why it is refused. again is true
// for one that was disabled before.
func Revoke(path string, environ []string, name string) (again bool, err error) {
	err = edit(path, environ, func(list *yaml.Node) error {
		entry := entryOf(list, name)
		if entry == nil {
			return fmt.Errorf("there is no key named %q: 'patchbay key list' shows those that are there", name)
		}
		if v := valueOf(entry, "disabled"); v != nil {
			again = v.Value == "true"
			v.Kind, v.Tag, v.Style, v.Value, v.Alias = yaml.ScalarNode, "", 0, "true", nil
			return nil
		}
		entry.Content = append(entry.Content, word("disabled"), word("true"))
		return nil
	})
	return again, err
}

// YAML is a key as it stands in a configuration, below auth.
func YAML(k config.Key) string {
	list := &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{node(k)}}
	text, err := encode(&yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{word("keys"), list}})
	if err != nil {
		panic("keys: " + err.Error()) // nodes of our own making
	}
	return string(text)
}

// edit changes the list of keys in a file. The new file is written beside it, checked, and put in its place, so that nobody ever
// reads half of one; its name is also the lock, as git does it.
func edit(path string, environ []string, change func(list *yaml.Node) error) (err error) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // what is replaced is the file, not the link to it
	}
	lock := path + ".lock"
	f, err := create(lock)
	if err != nil {
		return err
	}
	defer func() {
		_ = f.Close()
		if err != nil {
			_ = os.Remove(lock)
		}
	}()
	old, mode, err := read(path, environ)
	if err != nil {
		return err
	}
	text, err := rewrite(old, change)
	if err != nil {
		return fmt.Errorf("change %s: %w", path, err)
	}
	_, err = f.Write(text)
	if err = errors.Join(err, inherit(f, path), f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", lock, err)
	}
	if _, err := config.LoadKeys(lock, environ); err != nil {
		return fmt.Errorf("%s stays as it was, because it would not load:\n%w", path, err)
	}
	return os.Rename(lock, path)
}

// create makes the new file, which must not be there.
func create(lock string) (*os.File, error) {
	for end := time.Now().Add(lockPatience); ; time.Sleep(20 * time.Millisecond) {
		f, err := os.OpenFile(lock, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		switch {
		case err == nil:
			return f, nil
		case !errors.Is(err, fs.ErrExist):
			return nil, fmt.Errorf("make the new file: %w", err)
		case time.Now().After(end):
			return nil, fmt.Errorf("%s is there: another 'patchbay key' is at work, or one was killed; then remove it", lock)
		}
	}
}

// read returns the text of a file that loads; that of a new one when there is none.
func read(path string, environ []string) (text []byte, mode fs.FileMode, err error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return []byte(fileHead), 0o600, nil
	}
	if err != nil {
		return nil, 0, err
	}
	if _, err := config.LoadKeys(path, environ); err != nil {
		return nil, 0, err
	}
	text, err = os.ReadFile(path)
	return text, info.Mode().Perm(), err
}

// rewrite changes the list of keys in a text.
func rewrite(old []byte, change func(list *yaml.Node) error) ([]byte, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(old, &document); err != nil {
		return nil, err
	}
	if document.Kind == 0 || isNull(document.Content[0]) { // nothing but comments
		list := &yaml.Node{Kind: yaml.SequenceNode}
		if err := change(list); err != nil {
			return nil, err
		}
		text, err := encode(&yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{word("keys"), list}})
		if len(old) > 0 && old[len(old)-1] != '\n' {
			old = append(old, '\n')
		}
		return append(old, text...), err
	}
	list := valueOf(document.Content[0], "keys")
	switch {
	case list == nil:
		return nil, errors.New("it has no section keys")
	case isNull(list):
		*list = yaml.Node{Kind: yaml.SequenceNode, HeadComment: list.HeadComment, LineComment: list.LineComment, FootComment: list.FootComment}
	case list.Kind != yaml.SequenceNode:
		return nil, errors.New("its keys stand behind an alias: change it by hand")
	case len(list.Content) == 0:
		list.Style = 0 // not [] any more
	}
	if err := change(list); err != nil {
		return nil, err
	}
	return encode(&document)
}

func encode(n *yaml.Node) ([]byte, error) {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	err := errors.Join(e.Encode(n), e.Close())
	return b.Bytes(), err
}

// node is an entry of the list.
func node(k config.Key) *yaml.Node {
	routes := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	for _, r := range k.Routes {
		n := word(r)
		n.Style = yaml.DoubleQuotedStyle
		routes.Content = append(routes.Content, n)
	}
	entry := &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{word("name"), word(k.Name), word("hash"), word(k.Hash), word("routes"), routes}}
	if k.Expires != "" {
		entry.Content = append(entry.Content, word("expires"), word(k.Expires))
	}
	if k.Disabled {
		entry.Content = append(entry.Content, word("disabled"), word(strconv.FormatBool(k.Disabled)))
	}
	return entry
}

func word(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: s} }

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// valueOf is the value of a key of a mapping, nil when there is none.
func valueOf(mapping *yaml.Node, key string) *yaml.Node {
	if mapping.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i+1]
		}
	}
	return nil
}

// entryOf is the entry of that name, nil when there is none.
func entryOf(list *yaml.Node, name string) *yaml.Node {
	for _, entry := range list.Content {
		if v := valueOf(entry, "name"); v != nil && v.Value == name {
			return entry
		}
	}
	return nil
}
