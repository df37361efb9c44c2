package main

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/keys"
)

func (p *process) key() *cobra.Command {
	c := &cobra.Command{
		Use:   "key",
		Short: "Make, list and revoke API keys",
		Long: `An API key lets a program use the public listener of a server whose configuration says auth: {required: true}. What is
stored is a hash, in the configuration or in a file of its own, which auth.keys_file names.`,
		Example: `  patchbay key new --file keys.yaml --name web
  patchbay key list --file keys.yaml
  patchbay key revoke --file keys.yaml web`,
		Args: cobra.ArbitraryArgs,
		RunE: group,
	}
	c.AddCommand(p.keyNew(), p.keyList(), p.keyRevoke())
	return c
}

// fileFlag is the file of keys that a command works on.
func fileFlag(c *cobra.Command, file *string, what string) {
	c.Flags().StringVarP(file, "file", "f", "", "the `file` of keys"+what)
}

func (p *process) keyNew() *cobra.Command {
	var file, name, expires string
	var routes []string
	c := &cobra.Command{
		Use:   "new",
		Short: "Make an API key and show it once",
		Long: `New prints a new API key on standard output. It is shown this once: what is stored is its hash, in the file that --file
names, or in lines to put into a configuration, which are printed below the key.

A key may call every route, or those of --route: "POST /api/inference/infer", or "POST /api/inference/*" for all below.`,
		Example: `  patchbay key new --file keys.yaml --name web
  patchbay key new --file keys.yaml --name batch --route 'POST /api/inference/*' --route 'GET /api/models' --expires 90d
  KEY=$(patchbay key new --file keys.yaml --name ci --expires 2027-01-31)`,
		Args: args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			until, err := parseExpires(expires, time.Now())
			if err != nil {
				return usageError{err}
			}
			for _, r := range routes {
				if _, err := config.ScopePattern(r); err != nil {
					return usageError{fmt.Errorf("--route %s: %w", r, err)}
				}
			}
			key, hash := keys.Make()
			id, _, _, err := config.SplitKeyHash(hash)
			if err != nil {
				return err
			}
			name = cmp.Or(name, "key-"+id)
			if err := config.CheckKeyName(name); err != nil {
				return usageError{fmt.Errorf("--name: %w", err)}
			}
			if len(routes) == 0 {
				routes = []string{"*"}
			}
			entry := config.Key{Name: name, Hash: hash, Routes: routes, Expires: until}
			if file != "" {
				if err := keys.Append(file, p.environ, entry); err != nil {
					return fmt.Errorf("make a key: %w", err)
				}
			}
			if _, err := fmt.Fprintln(p.stdout, key); err != nil {
				return fmt.Errorf("the key %q is made and cannot be shown: %w: revoke it, if it is in a file, and make another", name, err)
			}
			if file == "" {
				fmt.Fprintf(p.stdout, "\nauth:\n  %s", strings.ReplaceAll(strings.TrimSuffix(keys.YAML(entry), "\n"), "\n", "\n  ")+"\n")
			}
			p.tellNext(file, name)
			return nil
		},
	}
	fileFlag(c, &file, " to add it to; made (0600) when it is not there")
	c.Flags().StringVar(&name, "name", "", "the `name` that logs and metrics show (default key-ID)")
	c.Flags().StringArrayVar(&routes, "route", nil, "a route that it may call, as `METHOD /path`; may be repeated (default all)")
	c.Flags().StringVar(&expires, "expires", "", "`when` it ends: 90d, 12h, 2027-01-31 or 2027-01-31T18:00:00Z (default never)")
	return c
}

// tellNext says on standard error what to do with a new key.
func (p *process) tellNext(file, name string) {
	where := "Put the lines below it into the configuration: a server that runs takes them up."
	if file != "" {
		where = fmt.Sprintf("Its hash is in %s, as %s: a server with auth: {keys_file: %s} takes it up while it runs.", file, name, file)
	}
	fmt.Fprintf(p.stderr, `
The key is shown this once: keep it where secrets are kept.
%s
auth: {required: true} has the server ask for a key. A client sends it as

    Authorization: Bearer pb_…
`, where)
}

// parseExpires turns a time from now, or a date, into what a configuration has; "" is never.
func parseExpires(s string, now time.Time) (string, error) {
	if s == "" {
		return "", nil
	}
	at, err := config.ParseExpiry(s)
	if err != nil {
		d, ok := parseLife(s)
		if !ok {
			return "", fmt.Errorf("--expires %s: want a time from now such as 90d or 12h, a date such as 2027-01-31, or 2027-01-31T18:00:00Z", s)
		}
		at = now.Add(d).UTC().Truncate(time.Second)
		s = at.Format(time.RFC3339)
	}
	if !at.After(now) {
		return "", fmt.Errorf("--expires %s is over already", s)
	}
	return s, nil
}

// parseLife is time.ParseDuration, with days.
func parseLife(s string) (time.Duration, bool) {
	const most = 100 * 365 // days
	if n, ok := strings.CutSuffix(s, "d"); ok {
		days, err := strconv.Atoi(n)
		return time.Duration(days) * 24 * time.Hour, err == nil && days > 0 && days <= most
	}
	d, err := time.ParseDuration(s)
	return d, err == nil && d <= most*24*time.Hour
}

var errNoKeysFile = errors.New("--file: name the file of keys, as auth.keys_file does")

func (p *process) keyList() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "list",
		Short: "Show the API keys of a file",
		Long: `List shows the name of each key in the file, its public id, which stands in the key behind pb_, whether it is good, when it
ends and what it may call.`,
		Example: `  patchbay key list --file keys.yaml`,
		Args:    args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			if file == "" {
				return usageError{errNoKeysFile}
			}
			list, err := config.LoadKeys(file, p.environ)
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "NAME\tID\tSTATE\tEXPIRES\tROUTES")
			for _, k := range list {
				id, _, _, err := config.SplitKeyHash(k.Hash)
				if err != nil {
					return err
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", k.Name, id, keyState(k, time.Now()), cmp.Or(k.Expires, "never"), strings.Join(k.Routes, ", "))
			}
			return w.Flush()
		},
	}
	fileFlag(c, &file, "")
	return c
}

func keyState(k config.Key, now time.Time) string {
	switch at, err := config.ParseExpiry(k.Expires); {
	case k.Disabled:
		return "revoked"
	case err == nil && !now.Before(at):
		return "expired"
	}
	return "good"
}

func (p *process) keyRevoke() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "revoke NAME",
		Short: "Disable an API key of a file",
		Long: `Revoke disables a key. Its entry stays in the file, so that whoever still sends it is told why it is refused; take the entry
out to forget it. A server that runs takes it up, also while its configuration is broken otherwise.`,
		Example: `  patchbay key revoke --file keys.yaml web`,
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, names []string) error {
			if file == "" {
				return usageError{errNoKeysFile}
			}
			again, err := keys.Revoke(file, p.environ, names[0])
			if err != nil {
				return fmt.Errorf("revoke a key: %w", err)
			}
			if again {
				fmt.Fprintf(p.stdout, "%s was revoked before\n", names[0])
				return nil
			}
			fmt.Fprintf(p.stdout, "%s is revoked\n", names[0])
			return nil
		},
	}
	fileFlag(c, &file, "")
	return c
}
