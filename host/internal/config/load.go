package config

import "cmp"

// Options say where a configuration is read from.
type Options struct {
	File    string            // "" is what PATCHBAY_CONFIG says, and no file without that
	Environ []string          // NAME=value, as os.Environ returns; nil is no environment at all
	Flags   map[string]string // setting path, as in server.listen, to its text
}

// Load reads the configuration: the defaults, over them the file, over that the environment and on
// top the flags. A list is replaced whole, a section key by key. The error is of type Errors and
// holds everything that is wrong, whether it does not parse, does not decode or makes no sense.
// TLS files are looked at; sources and secrets are not.
func Load(o Options) (*Config, error) {
	r := &report{}
	environ := environment(o.Environ)
	file, readable := newLayer(), true
	name := cmp.Or(o.File, environ[EnvFile])
	if name != "" {
		file, readable = readFile(name, environ, r)
	}
	layers := []*layer{file, fromEnvironment(environ, file, r), flagNotation().read(o.Flags, file, r)}
	for _, l := range layers {
		l.check(r)
	}

	c := &Config{}
	for _, w := range decode(stack(layers), c) {
		r.add(origin{source: name}, w.path, "want %s, got %s", w.want, w.got)
	}
	c.complete()
	validate(c, layers, readable, r)
	if err := r.err(name); err != nil {
		return nil, err
	}
	return c, nil
}
