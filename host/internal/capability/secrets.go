package capability

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/patchbay-run/patchbay/host/internal/config"
)

const maxSecret = 64 << 10

// Secrets holds the values that no guest, log line or answer shows. They are read once, when the configuration is.
type Secrets struct {
	known  map[string]config.Secret
	values map[string]string
}

// ReadSecrets reads every secret from its environment variable or file. One whose variable is unset or empty is
// absent, which is no error: plugins are told which are there. A file that can't be read is one.
func ReadSecrets(known map[string]config.Secret, environ []string) (*Secrets, error) {
	s := &Secrets{known: known, values: map[string]string{}}
	for name, secret := range known {
		value := ""
		if secret.Env != "" {
			value = lookup(environ, secret.Env)
		} else {
			info, err := os.Stat(secret.File)
			if err != nil {
				return nil, fmt.Errorf("read secrets.%s.file: %w", name, err)
			}
			if info.Size() > maxSecret {
				return nil, fmt.Errorf("read secrets.%s.file: %s has %d bytes, over the %d that a secret may have", name, secret.File, info.Size(), maxSecret)
			}
			b, err := os.ReadFile(secret.File)
			if err != nil {
				return nil, fmt.Errorf("read secrets.%s.file: %w", name, err)
			}
			value = string(b)
		}
		value = strings.TrimSpace(value)
		if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return nil, fmt.Errorf("secrets.%s holds a line break or another control character: it can't be sent in a header", name)
		}
		if value != "" {
			s.values[name] = value
		}
	}
	return s, nil
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
func (s *Secrets) Present(name string) bool { return s.values[name] != "" }

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

// put sets a secret on a request, if it is bound to where the request goes.
func (s *Secrets) put(req *http.Request, name, as, upstream string) error {
	secret := s.known[name]
	bound := upstream != "" && secret.Upstream == upstream ||
		upstream == "" && slices.ContainsFunc(secret.Hosts, func(h string) bool { return strings.EqualFold(h, req.URL.Hostname()) })
	if !bound {
		return fmt.Errorf("secret %q is not bound to %s: add it to secrets.%s.hosts", name, req.URL.Hostname(), name)
	}
	if req.URL.Scheme != "https" && !secret.Insecure {
		return fmt.Errorf("secret %q would travel over plain http: use https, or set secrets.%s.insecure: true", name, name)
	}
	value := s.values[name]
	if value == "" {
		return nil // absent: the upstream says what it thinks of that
	}
	if as == "" || as == "bearer" {
		req.Header.Set("Authorization", "Bearer "+value)
		return nil
	}
	req.Header.Set(as, value)
	return nil
}
