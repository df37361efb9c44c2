package plugin

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/wasm"
)

const maxModule = 256 << 20 // bytes; far beyond what a toolchain makes

// Source is a plugin's file as it was read.
type Source struct {
	Path     string
	Bytes    []byte
	Digest   wasm.Digest
	Manifest *Manifest
}

// Read reads a plugin's file and checks its digest and its manifest.
func Read(c config.Plugin) (*Source, error) {
	s := &Source{Path: c.Source}
	info, err := os.Stat(c.Source)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, missing(c)
	case err != nil:
		return nil, fmt.Errorf("plugin %q: read its source: %w", c.Name, err)
	case info.IsDir():
		return nil, fmt.Errorf("plugin %q: its source %s is a folder: name the .wasm in it", c.Name, c.Source)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("plugin %q: its source %s is no plain file", c.Name, c.Source)
	case info.Size() > maxModule:
		return nil, fmt.Errorf("plugin %q: its source %s has %d bytes, over %d", c.Name, c.Source, info.Size(), maxModule)
	}
	if s.Bytes, err = os.ReadFile(c.Source); err != nil {
		return nil, fmt.Errorf("plugin %q: read its source: %w", c.Name, err)
	}
	s.Digest = sha256.Sum256(s.Bytes)
	if c.Digest != "" && c.Digest != s.Digest.String() {
		return nil, fmt.Errorf("plugin %q: %s has digest %v, but %s is pinned: put the pinned file there, or change digest", c.Name, c.Source, s.Digest, c.Digest)
	}
	if s.Manifest, err = ReadManifest(s.Bytes); err != nil {
		return nil, fmt.Errorf("plugin %q: %s: %w", c.Name, c.Source, err)
	}
	return s, nil
}

func missing(c config.Plugin) error {
	folder := filepath.Dir(c.Source)
	if abs, err := filepath.Abs(folder); err == nil {
		folder = abs
	}
	return fmt.Errorf("plugin %q: there is no file %s in %s: run make build, or correct source (a relative path begins at the folder the server runs in)", c.Name, filepath.Base(c.Source), folder)
}
