package config

import (
	"net/url"
	"strings"
)

// hidden stands in the place of a secret.
const hidden = "***"

// Redacted returns the configuration in force as nested maps and lists, in the keys and the
// spelling of the file. It is safe to show to an operator: secrets, users in URLs, and whatever
// looks like a credential in a plugin's own configuration are "***" or left out. The caller owns
// the result.
func (c *Config) Redacted() map[string]any {
	out := encode(c).(map[string]any)
	for _, secret := range out["secrets"].(map[string]any) {
		secret.(map[string]any)["value"] = hidden
	}
	for _, key := range out["auth"].(map[string]any)["keys"].([]any) {
		key.(map[string]any)["hash"] = hidden
	}
	traces := out["traces"].(map[string]any)
	traces["endpoint"] = redact(traces["endpoint"])
	for name, value := range traces["headers"].(map[string]any) {
		if value != "" {
			traces["headers"].(map[string]any)[name] = hidden
		}
	}
	for _, upstream := range out["upstreams"].(map[string]any) {
		u := upstream.(map[string]any)
		u["endpoints"] = redact(u["endpoints"])
		u["proxy"] = redact(u["proxy"])
	}
	for _, plugin := range out["plugins"].([]any) {
		p := plugin.(map[string]any)
		p["source"] = redact(p["source"])
		p["config"] = redact(p["config"])
	}
	return out
}

// redact hides what is secret in a value, at any depth.
func redact(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			if value != "" && value != nil && isCredential(key) {
				v[key] = hidden
			} else {
				v[key] = redact(value)
			}
		}
	case []any:
		for i, value := range v {
			v[i] = redact(value)
		}
	case string:
		return redactURL(v, "")
	}
	return v
}

// isCredential reports whether a key looks like one that holds a credential. It would rather hide
// max_tokens than show a token.
func isCredential(key string) bool {
	key = strings.ToLower(key)
	for _, word := range []string{"key", "token", "secret", "password", "authorization"} {
		if strings.Contains(key, word) {
			return true
		}
	}
	return false
}

// redactURL takes the user and password out of a URL and leaves a mark in their place; of a
// credential in the query it leaves "***". Any other text is returned as it is.
func redactURL(s, mark string) string {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return s
	}
	u, err := url.Parse(s)
	if err != nil {
		if at := strings.LastIndexByte(rest, '@'); at >= 0 {
			rest = mark + rest[at+1:] // wherever the user was meant to end
		}
		return scheme + "://" + rest
	}
	if u.User == nil && u.RawQuery == "" {
		return s
	}
	if u.User == nil {
		mark = ""
	}
	u.User = nil
	parameters := strings.Split(u.RawQuery, "&")
	for i, parameter := range parameters {
		if name, _, ok := strings.Cut(parameter, "="); ok && isCredential(name) {
			parameters[i] = name + "=" + hidden
		}
	}
	u.RawQuery = strings.Join(parameters, "&")
	return strings.Replace(u.String(), "://", "://"+mark, 1)
}
