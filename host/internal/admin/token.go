package admin

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxToken bounds a token file, in bytes.
const maxToken = 4 << 10

// ReadToken returns the token in the file at path, without the white space around it. When there is
// no file it makes one that only its owner can read (0600), with a new random token of 130 bits,
// and the folders on the way to it (0700). Several processes may do so at once: all get the same
// token.
//
// It refuses a file that others may read, and one that holds no single printable word of up to
// 4 KiB. No error shows what is in the file.
func ReadToken(path string) (string, error) {
	if path == "" {
		return "", errors.New("read the admin token: no file is named; set admin.token_file")
	}
	token, err := readToken(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeToken(path); err != nil {
			return "", fmt.Errorf("make an admin token: %w; set admin.token_file to a file that can be written, or put a token there", err)
		}
		token, err = readToken(path)
	}
	if err != nil {
		return "", fmt.Errorf("read the admin token: %w", err)
	}
	return token, nil
}

func readToken(path string) (string, error) {
	// Before it is opened: opening a pipe would wait for its writer.
	if info, err := os.Stat(path); err != nil {
		return "", err
	} else if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a file; set admin.token_file to one", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return "", fmt.Errorf("%s may be read or changed by others (mode %04o): chmod 600 %s, and renew the token if they might have read it", path, mode, path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxToken+1))
	if err != nil {
		return "", err
	}
	if len(text) > maxToken {
		return "", fmt.Errorf("%s is over %d bytes; a token file holds the token and nothing else", path, maxToken)
	}
	token := string(bytes.TrimSpace(text))
	if token == "" {
		return "", fmt.Errorf("%s is empty; write a token into it, or remove it and one is made", path)
	}
	if fault := tokenFault(token); fault != "" {
		return "", fmt.Errorf("%s: the token %s", path, fault)
	}
	return token, nil
}

// tokenFault says why a token cannot be sent in a header as it is, "" when it can.
func tokenFault(token string) string {
	if len(strings.Fields(token)) > 1 || strings.TrimSpace(token) != token {
		return "has white space in it; it must be one word"
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "has characters in it that are not printable ASCII"
	}
	return ""
}

// makeToken writes a new token to path, unless there is one by then. The file appears with its
// content and its mode or not at all, so that whoever reads it never finds half a token.
func makeToken(path string) error {
	folder := filepath.Dir(path)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	// CreateTemp makes it 0600 and never follows or reuses what is there.
	f, err := os.CreateTemp(folder, ".admin-token-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(rand.Text() + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	// A link, unlike a rename, never replaces what another process made meanwhile.
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
