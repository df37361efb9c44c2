package plugin

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

var (
	errNoModule   = errors.New("it is no WebAssembly module (version 1)")
	errCutOff     = errors.New("it is cut off")
	errNoManifest = fmt.Errorf("it has no section %s: build it with patchbay plugin build", abi.ManifestSection)
)

const wasmHead = "\x00asm\x01\x00\x00\x00"

// ReadManifest finds and checks the manifest in a module.
func ReadManifest(module []byte) (*Manifest, error) {
	var found []byte
	err := sections(module, func(name string, content []byte) bool {
		if name == abi.ManifestSection {
			found = content
		}
		return found == nil
	})
	if err != nil {
		return nil, err
	}
	if found == nil {
		return nil, errNoManifest
	}
	return ParseManifest(found)
}

// EmbedManifest returns the module with the manifest as its only section of that name.
func EmbedManifest(module, manifest []byte) ([]byte, error) {
	out := []byte(wasmHead)
	err := eachSection(module, func(whole []byte, id byte, content []byte) error {
		if id == 0 {
			if name, _, err := sectionName(content); err != nil || name == abi.ManifestSection {
				return err
			}
		}
		out = append(out, whole...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	content := binary.AppendUvarint(nil, uint64(len(abi.ManifestSection)))
	content = append(append(content, abi.ManifestSection...), manifest...)
	out = binary.AppendUvarint(append(out, 0), uint64(len(content)))
	return append(out, content...), nil
}

// sections shows the custom sections of a module until each returns false.
func sections(module []byte, each func(name string, content []byte) bool) error {
	more := true
	return eachSection(module, func(_ []byte, id byte, content []byte) error {
		if id != 0 || !more {
			return nil
		}
		name, rest, err := sectionName(content)
		if err != nil {
			return err
		}
		more = each(name, rest)
		return nil
	})
}

func eachSection(module []byte, each func(whole []byte, id byte, content []byte) error) error {
	if len(module) < len(wasmHead) || string(module[:len(wasmHead)]) != wasmHead {
		return errNoModule
	}
	for rest := module[len(wasmHead):]; len(rest) > 0; {
		size, n := binary.Uvarint(rest[1:])
		if n <= 0 || size > uint64(len(rest)-1-n) {
			return errCutOff
		}
		end := 1 + n + int(size)
		if err := each(rest[:end], rest[0], rest[1+n:end]); err != nil {
			return err
		}
		rest = rest[end:]
	}
	return nil
}

func sectionName(content []byte) (name string, rest []byte, err error) {
	size, n := binary.Uvarint(content)
	if n <= 0 || size > uint64(len(content)-n) {
		return "", nil, errCutOff
	}
	return string(content[n : n+int(size)]), content[n+int(size):], nil
}
