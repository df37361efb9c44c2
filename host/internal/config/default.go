package config

import "time"

// Default returns the configuration of a server that was told nothing. It has no upstreams,
// secrets or plugins. It is a function, so that nobody can edit the defaults.
func Default() *Config {
	return &Config{
		Server: Server{
			Listen:            "127.0.0.1:8000",
			MaxBody:           64 * MiB,
			MaxHeader:         64 * KiB,
			MaxConns:          16384,
			ReadHeaderTimeout: 10 * time.Second,
			ReadTimeout:       30 * time.Second,
			WriteTimeout:      30 * time.Second,
			IdleTimeout:       120 * time.Second,
			DrainTimeout:      30 * time.Second,
			UpgradeTimeout:    time.Minute,
			UpgradeDrain:      30 * time.Minute, // as long as a generation that was swapped may drain
			TrustedProxies:    []string{},
			CORS:              CORS{Origins: []string{"*"}},
		},
		Auth:  KeyAuth{Keys: []Key{}},
		Admin: Admin{Listen: "127.0.0.1:8001"},
		Log:   Log{Level: "info", Format: "text", Access: true, Buffer: MiB},
		Traces: Traces{
			Protocol:    "grpc",
			Headers:     map[string]string{},
			Sample:      1,
			Join:        true,
			Propagate:   "upstreams",
			ServiceName: "patchbay",
			Resource:    map[string]string{},
			Queue:       4096,
			Timeout:     10 * time.Second,
		},
		Live: Live{
			MaxClients:    10000,
			MaxPerAddress: 256,
			MaxPublished:  64,
			MaxState:      64 * KiB,
			History:       time.Hour,
			MaxHistory:    32 * MiB,
			PingInterval:  30 * time.Second,
			WriteTimeout:  10 * time.Second,
		},
		Demo:  Demo{TokenGap: 15 * time.Millisecond},
		Cache: Cache{Memory: 64 * MiB},
		Capacity: Capacity{
			Light:  60 * time.Second,
			Medium: 20 * time.Second,
			Heavy:  5 * time.Second,
		},
		Client: Client{
			MaxIdleConns:    50,
			MaxConns:        200,
			IdleTimeout:     30 * time.Second,
			ConnectTimeout:  10 * time.Second,
			ResponseTimeout: 30 * time.Second,
			ChunkTimeout:    60 * time.Second,
			MaxResponse:     64 * MiB,
			MaxWaiting:      10000,
		},
		Upstreams: map[string]Upstream{},
		Secrets:   map[string]Secret{},
		Plugins:   []Plugin{},
	}
}

// DefaultUpstream returns what an entry of upstreams has where it says nothing.
func DefaultUpstream() Upstream {
	return Upstream{
		Endpoints:       []Endpoint{},
		MaxConns:        512,
		MaxIdleConns:    128,
		IdleTimeout:     4 * time.Second, // uvicorn closes an idle connection after 5 s
		ConnectTimeout:  10 * time.Second,
		ResponseTimeout: 10 * time.Minute, // a slow prefill sends its headers late
		ChunkTimeout:    60 * time.Second,
		MaxResponse:     64 * MiB,
		MaxWaiting:      10000,
		Health: Health{
			Interval:    10 * time.Second,
			Timeout:     2 * time.Second,
			Failures:    3,
			Statuses:    []int{502, 504}, // GPUStack's 503 speaks of one model, not of the service
			Ejection:    10 * time.Second,
			MaxEjection: 5 * time.Minute,
			SlowStart:   30 * time.Second,
		},
		Queue: Queue{Metric: "gpustack:num_requests_waiting", Interval: 5 * time.Second},
		Retry: Retry{
			Max:      2,
			Statuses: []int{429, 502, 503, 504},
			Delay:    50 * time.Millisecond,
			MaxDelay: time.Second,
			MaxWait:  5 * time.Second,
			Budget:   0.1,
		},
		Breaker: Breaker{
			FailureRate: 0.5,
			MinCalls:    20,
			Window:      10 * time.Second,
			Open:        5 * time.Second,
			Trials:      3,
		},
	}
}

// DefaultPlugin returns what an entry of plugins has where it says nothing.
func DefaultPlugin() Plugin {
	return Plugin{
		Routes:    []string{},
		Workers:   1,
		Isolation: "shared",
		Start:     "snapshot",
		Limits: Limits{
			Memory:   64 * MiB,
			Stack:    8 * MiB,
			CPU:      500 * time.Millisecond,
			Timeout:  30 * time.Second,
			InFlight: 1024,
			Fetches:  2048, // two for each request
			Answer:   8 * MiB,
			Headers:  64 * KiB, // the most that the ABI carries
			Log:      100,
			Events:   60,

			Instances: 256,
		},
		Grant:  Grant{Fetch: []Fetch{}, Publish: []Publish{}, Headers: []string{}},
		Config: map[string]any{},
	}
}

// complete fills in what follows from the rest: a limit written as zero is the default, a secret
// travels as a bearer token, a host is asked over https on its port.
func (c *Config) complete() {
	for name, u := range c.Upstreams {
		u.Auth.As = orBearer(u.Auth.As, u.Auth.Secret)
		for i := range u.Endpoints {
			orDefault(&u.Endpoints[i].Weight, 1)
		}
		c.Upstreams[name] = u
	}
	limits := DefaultPlugin().Limits
	for i := range c.Plugins {
		p := &c.Plugins[i]
		orDefault(&p.Limits.Memory, limits.Memory)
		orDefault(&p.Limits.Stack, limits.Stack)
		orDefault(&p.Limits.CPU, limits.CPU)
		orDefault(&p.Limits.Timeout, limits.Timeout)
		orDefault(&p.Limits.InFlight, limits.InFlight)
		orDefault(&p.Limits.Fetches, limits.Fetches)
		orDefault(&p.Limits.Answer, limits.Answer)
		orDefault(&p.Limits.Headers, limits.Headers)
		orDefault(&p.Limits.Log, limits.Log)
		orDefault(&p.Limits.Events, limits.Events)
		orDefault(&p.Limits.Instances, limits.Instances)
		for j := range p.Grant.Fetch {
			f := &p.Grant.Fetch[j]
			f.As = orBearer(f.As, f.Secret)
			if f.Upstream != "" || f.Host == "" {
				continue
			}
			orDefault(&f.Scheme, "https")
			orDefault(&f.Port, defaultPort(f.Scheme))
		}
	}
}

// orDefault sets v when it is zero.
func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// orBearer says how a secret travels; without one there is nothing to say.
func orBearer(as, secret string) string {
	if as == "" && secret != "" {
		return "bearer"
	}
	return as
}

// defaultPort is the port of a URL that names none; 0 when the scheme is not one of HTTP's.
func defaultPort(scheme string) int {
	switch scheme {
	case "http":
		return 80
	case "https":
		return 443
	}
	return 0
}
