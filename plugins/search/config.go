package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// config is the operator's configuration; manifest.json describes every key.
type config struct {
	Provider       string        `json:"provider"`
	Providers      []string      `json:"providers"`
	MaxResults     int           `json:"max_results"`
	MaxChars       int           `json:"max_chars"`
	MinChars       int           `json:"min_chars"`
	ExcludeDomains []string      `json:"exclude_domains"`
	Cache          cacheConfig   `json:"cache"`
	Timeout        duration      `json:"timeout"`
	AnswerWithin   duration      `json:"answer_within"`
	Tavily         tavilyConfig  `json:"tavily"`
	SearXNG        searxngConfig `json:"searxng"`
	Brave          keyedConfig   `json:"brave"`
	Serper         keyedConfig   `json:"serper"`
	Exa            keyedConfig   `json:"exa"`
	DuckDuckGo     demoConfig    `json:"duckduckgo"`
	Demo           demoConfig    `json:"demo"`
	Summary        summaryConfig `json:"summary"`
}

type cacheConfig struct {
	TTL     duration `json:"ttl"` // 0: nothing is kept
	Stale   duration `json:"stale"`
	NoCache bool     `json:"no_cache"`
}

type tavilyConfig struct {
	Endpoint string `json:"endpoint"`
	Secret   string `json:"secret"` // its name; empty for a mirror that wants none
	Depth    string `json:"depth"`
}

type searxngConfig struct {
	Endpoint   string `json:"endpoint"`
	Secret     string `json:"secret"`
	Language   string `json:"language"`
	Categories string `json:"categories"`
	Engines    string `json:"engines"`
	SafeSearch *int   `json:"safesearch"`
}

type keyedConfig struct {
	Endpoint string `json:"endpoint"`
	Secret   string `json:"secret"` // its name; empty for a mirror that wants none
}

type demoConfig struct {
	Endpoint string `json:"endpoint"`
}

type summaryConfig struct {
	Endpoint    string   `json:"endpoint"`
	Secret      string   `json:"secret"`
	Model       string   `json:"model"` // empty: no summary
	Temperature float64  `json:"temperature"`
	MaxTokens   int      `json:"max_tokens"`
	Timeout     duration `json:"timeout"`
}

// defaults is what holds for keys that the operator leaves out.
func defaults() config {
	return config{
		Provider:   "auto",
		Providers:  []string{},
		MaxResults: 8,
		MaxChars:   1500,
		MinChars:   100,
		// Result pages of other engines, and pages that show nothing without an account.
		ExcludeDomains: []string{"google.com", "bing.com", "yahoo.com", "facebook.com", "twitter.com", "x.com"},
		Cache:          cacheConfig{TTL: duration(10 * time.Minute), Stale: duration(time.Hour)},
		Timeout:        duration(20 * time.Second),
		// Under the host's 30 s for an answer's head: a summary that takes too long must not cost the search.
		AnswerWithin: duration(27 * time.Second),
		Tavily:       tavilyConfig{Endpoint: "https://api.tavily.com", Secret: "tavily", Depth: "advanced"},
		Brave:        keyedConfig{Endpoint: "https://api.search.brave.com", Secret: "brave"},
		Serper:       keyedConfig{Endpoint: "https://google.serper.dev", Secret: "serper"},
		Exa:          keyedConfig{Endpoint: "https://api.exa.ai", Secret: "exa"},
		DuckDuckGo:   demoConfig{Endpoint: "https://html.duckduckgo.com"},
		Demo:         demoConfig{Endpoint: "upstream://demo-search"},
		Summary: summaryConfig{
			Endpoint:    "upstream://gpustack",
			Temperature: 0.2,
			MaxTokens:   1200,
			Timeout:     duration(30 * time.Second),
		},
	}
}

// maxKept is the longest that an answer may be kept, fresh or stale.
const maxKept = duration(30 * 24 * time.Hour)

// validate reports every problem at once. The manifest's schema has caught most of them before.
func (c *config) validate() error {
	var problems []error
	add := func(key, format string, args ...any) {
		problems = append(problems, fmt.Errorf("config: "+key+": "+format, args...))
	}
	for i, name := range c.Providers {
		if slices.Contains(c.Providers[:i], name) {
			add("providers", "%q is there twice", name)
		}
	}
	if c.MaxResults < 1 || c.MaxResults > 20 {
		add("max_results", "%d must be from 1 to 20", c.MaxResults)
	}
	if c.MaxChars < 100 || c.MaxChars > 20000 {
		add("max_chars", "%d must be from 100 to 20000", c.MaxChars)
	}
	if c.MinChars < 0 || c.MinChars >= c.MaxChars {
		add("min_chars", "%d must be from 0 to less than max_chars, which is %d", c.MinChars, c.MaxChars)
	}
	if c.Cache.TTL < 0 || c.Cache.TTL > maxKept {
		add("cache.ttl", "%v must be from 0 to %v", c.Cache.TTL, maxKept)
	}
	if c.Cache.Stale < 0 || c.Cache.Stale > maxKept {
		add("cache.stale", "%v must be from 0 to %v", c.Cache.Stale, maxKept)
	}
	if c.Timeout <= 0 {
		add("timeout", "%v must be over 0", c.Timeout)
	}
	if c.AnswerWithin <= 0 {
		add("answer_within", "%v must be over 0", c.AnswerWithin)
	}
	if c.Summary.Timeout <= 0 {
		add("summary.timeout", "%v must be over 0", c.Summary.Timeout)
	}
	if c.Summary.MaxTokens < 1 {
		add("summary.max_tokens", "%d must be over 0", c.Summary.MaxTokens)
	}
	for _, e := range []struct {
		key   string
		value *string
	}{
		{"tavily.endpoint", &c.Tavily.Endpoint},
		{"searxng.endpoint", &c.SearXNG.Endpoint},
		{"brave.endpoint", &c.Brave.Endpoint},
		{"serper.endpoint", &c.Serper.Endpoint},
		{"exa.endpoint", &c.Exa.Endpoint},
		{"duckduckgo.endpoint", &c.DuckDuckGo.Endpoint},
		{"demo.endpoint", &c.Demo.Endpoint},
		{"summary.endpoint", &c.Summary.Endpoint},
	} {
		*e.value = strings.TrimRight(*e.value, "/")
		if *e.value != "" && !callable(*e.value) {
			add(e.key, "%q must begin with https://, http:// or upstream:// and have no query", *e.value)
		}
	}
	if c.Summary.Model != "" && c.Summary.Endpoint == "" {
		add("summary.endpoint", "it is empty, and summary.model is set")
	}
	return errors.Join(problems...)
}

// callable reports whether a path can be put behind endpoint and the whole be called.
func callable(endpoint string) bool {
	scheme, rest, ok := strings.Cut(endpoint, "://")
	return ok && (scheme == "https" || scheme == "http" || scheme == "upstream") && rest != "" && !strings.ContainsAny(rest, "?# ")
}

// duration is a time.Duration that is written "20s" in JSON.
type duration time.Duration

// UnmarshalJSON implements json.Unmarshaler.
func (d *duration) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return fmt.Errorf("%s is no duration: write \"20s\" or \"500ms\"", b)
	}
	v, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("%q is no duration: write \"20s\" or \"500ms\"", text)
	}
	*d = duration(v)
	return nil
}

// String is the duration as it is written.
func (d duration) String() string { return time.Duration(d).String() }
