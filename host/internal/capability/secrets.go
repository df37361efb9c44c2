package capability

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/patchbay-run/patchbay/host/internal/config"
)

const maxSecret = 64 << 10

// Secrets holds the values that no guest, log line or answer shows. It is safe for concurrent use.
type Secrets struct {
	known   map[string]config.Secret
	environ []string
	now     atomic.Pointer[values]
}

// values are those that were read at one time.
type values struct {
	texts map[string]string
	masks map[string]*mask // of those that are long enough
}

// ReadSecrets reads every secret from its environment variable or file. One whose variable is unset or empty is
// absent, which is no error: plugins are told which are there. A file that can't be read is one; all of them come back at once.
func ReadSecrets(known map[string]config.Secret, environ []string) (*Secrets, error) {
	s := &Secrets{known: known, environ: environ}
	return s, s.Refresh()
}

// Refresh reads them again, for calls that begin from now on. With an error all stay as they were.
func (s *Secrets) Refresh() error {
	next := &values{texts: map[string]string{}, masks: map[string]*mask{}}
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(s.known)) {
		value, err := readSecret(name, s.known[name], s.environ)
		if err != nil {
			problems = append(problems, err)
		}
		if value == "" {
			continue
		}
		next.texts[name] = value
		if before := s.now.Load(); before != nil && before.texts[name] == value {
			next.masks[name] = before.masks[name]
		} else {
			next.masks[name] = newMask(value)
		}
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	s.now.Store(next)
	return nil
}

func readSecret(name string, secret config.Secret, environ []string) (string, error) {
	value := ""
	if secret.Env != "" {
		value = lookup(environ, secret.Env)
	} else {
		b, err := readSecretFile(secret.File)
		if err != nil {
			return "", fmt.Errorf("read secrets.%s.file: %w", name, err)
		}
		value = string(b)
	}
	value = strings.TrimSpace(value)
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", fmt.Errorf("secrets.%s holds a line break or another control character: it can't be sent in a header", name)
	}
	return value, nil
}

// readSecretFile does not ask for the size first: what is no plain file has none.
func readSecretFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err == nil && len(b) > maxSecret {
		err = fmt.Errorf("%s is over the %d bytes that a secret may have", path, maxSecret)
	}
	return b, err
}

func lookup(environ []string, name string) string {
	for i := len(environ) - 1; i >= 0; i-- {
		if value, ok := strings.CutPrefix(environ[i], name+"="); ok {
			return value
		}
	}
	return ""
}

// Present says whether the secret has a value.
func (s *Secrets) Present(name string) bool { return s.now.Load().texts[name] != "" }

// Granted is the names of those secrets that a plugin's grant names and that have a value, sorted.
func (s *Secrets) Granted(g config.Grant) []string {
	var names []string
	for _, f := range g.Fetch {
		if f.Secret != "" && s.Present(f.Secret) && !slices.Contains(names, f.Secret) {
			names = append(names, f.Secret)
		}
	}
	slices.Sort(names)
	return names
}

// bound says why a secret may not go where a call goes; nil is that it may.
func (s *Secrets) bound(name string, t *target) error {
	secret, up := s.known[name], t.upstream
	switch {
	case up != "" && secret.Upstream != up:
		return fmt.Errorf("secret %q is not bound to upstream %s: say upstream: %s in secrets.%s", name, up, up, name)
	case up == "" && !slices.ContainsFunc(secret.Hosts, func(h string) bool { return !strings.HasPrefix(h, "*") && config.MatchHost(h, t.host) }):
		return fmt.Errorf("secret %q is not bound to %s: add %s to secrets.%s.hosts", name, t.host, t.host, name)
	case up == "" && t.scheme != "https" && !secret.Insecure && s.Present(name):
		return insecure(name)
	}
	return nil
}

func insecure(name string) error {
	return fmt.Errorf("secret %q would travel over plain http: use https, or set secrets.%s.insecure: true", name, name)
}

// put sets a secret on a request, if it is bound to where the request goes, and gives what finds it in the answer; nil for one that
// is short or absent. An absent one is left out: who is called says what it thinks of that.
func (s *Secrets) put(req *http.Request, name, as string, t *target) (*mask, error) {
	if err := s.bound(name, t); err != nil {
		return nil, err
	}
	now := s.now.Load()
	value := now.texts[name]
	switch {
	case value == "":
	case req.URL.Scheme != "https" && !s.known[name].Insecure: // an upstream's endpoints say how
		return nil, insecure(name)
	case as == "" || as == "bearer":
		req.Header.Set("Authorization", "Bearer "+value)
	default:
		req.Header.Set(as, value)
	}
	return now.masks[name], nil
}
