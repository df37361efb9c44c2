// Package config holds every setting of the server: its type, its default, where it was read
// from and what is wrong with it. It decides nothing about how a setting is used.
//
// A Config is read-only once Load has returned it.
package config

import "time"

// Config is the whole configuration. The yaml names are the keys of the file.
type Config struct {
	Server    Server              `yaml:"server"`
	Auth      KeyAuth             `yaml:"auth"`
	Admin     Admin               `yaml:"admin"`
	Log       Log                 `yaml:"log"`
	Traces    Traces              `yaml:"traces"`
	Live      Live                `yaml:"live"`
	Demo      Demo                `yaml:"demo"`
	CacheDir  string              `yaml:"cache_dir"` // compiled plugins; "" is the user's cache folder
	Cache     Cache               `yaml:"cache"`
	Capacity  Capacity            `yaml:"capacity"`
	Client    Client              `yaml:"client"`
	Upstreams map[string]Upstream `yaml:"upstreams"`
	Secrets   map[string]Secret   `yaml:"secrets"`
	Plugins   []Plugin            `yaml:"plugins"`
}

// Server is the public listener.
type Server struct {
	Listen            string        `yaml:"listen"`
	MaxBody           Bytes         `yaml:"max_body"`
	MaxHeader         Bytes         `yaml:"max_header"`
	MaxConns          int           `yaml:"max_conns"` // open client connections; 0 is no bound
	ReadHeaderTimeout time.Duration `yaml:"read_header_timeout"`
	ReadTimeout       time.Duration `yaml:"read_timeout"`  // a request body that makes no progress
	WriteTimeout      time.Duration `yaml:"write_timeout"` // a write that makes no progress
	IdleTimeout       time.Duration `yaml:"idle_timeout"`
	StopDelay         time.Duration `yaml:"stop_delay"`      // from the signal until nobody new is let in
	DrainTimeout      time.Duration `yaml:"drain_timeout"`   // from then on, for requests that run
	UpgradeTimeout    time.Duration `yaml:"upgrade_timeout"` // until a new process is ready
	UpgradeDrain      time.Duration `yaml:"upgrade_drain"`   // for requests that run in the old one
	TrustedProxies    []string      `yaml:"trusted_proxies"` // CIDR prefixes or addresses
	CORS              CORS          `yaml:"cors"`
	TLS               TLS           `yaml:"tls"`
}

// CORS answers cross-origin requests, always without credentials.
type CORS struct {
	Origins []string `yaml:"origins"`
}

// TLS turns the public listener into HTTPS with HTTP/2; both files or neither.
type TLS struct {
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

// KeyAuth says who may use the public listener: whoever sends one of the keys.
type KeyAuth struct {
	Required bool   `yaml:"required"`  // no request without a key, but for the probes
	KeysFile string `yaml:"keys_file"` // more keys, as LoadKeys reads them; "" is none
	Keys     []Key  `yaml:"keys"`
}

// Key is one API key. The key itself is written nowhere.
type Key struct {
	Name     string   `yaml:"name"`     // what logs and metrics call it
	Hash     string   `yaml:"hash"`     // as SplitKeyHash takes it apart
	Routes   []string `yaml:"routes"`   // what it may call, as ScopePattern reads them; ["*"] is everything
	Expires  string   `yaml:"expires"`  // from then on it is refused, as ParseExpiry reads it; "" is never
	Disabled bool     `yaml:"disabled"` // it was revoked
}

// Admin is the operator's listener. It always asks for a token.
type Admin struct {
	Listen    string `yaml:"listen"`
	TokenFile string `yaml:"token_file"` // "" is admin-token in the cache folder, made (0600) when missing
}

// Log is what the server says on standard error.
type Log struct {
	Level  string `yaml:"level"`  // debug, info, warn, error
	Format string `yaml:"format"` // text, json
	Access bool   `yaml:"access"` // one line for each request
	Client bool   `yaml:"client"` // with the client's address
	Buffer Bytes  `yaml:"buffer"` // lines that wait to be written; more are dropped and counted
}

// Traces says where OpenTelemetry spans go and which there are. Without an endpoint there are none.
type Traces struct {
	Endpoint    string            `yaml:"endpoint"`     // of an OTLP receiver, http:// or https://; "" is none
	Protocol    string            `yaml:"protocol"`     // grpc, http/protobuf
	Headers     map[string]string `yaml:"headers"`      // that go with each batch; the values are secrets, an empty one is not sent
	Insecure    bool              `yaml:"insecure"`     // headers may travel over plain http
	CA          string            `yaml:"ca"`           // PEM file of whom to trust; "" is what the system trusts
	Sample      float64           `yaml:"sample"`       // 0 to 1, the share of the traces that begin here
	Join        bool              `yaml:"join"`         // take up a request's traceparent, and with it whether to sample
	Propagate   string            `yaml:"propagate"`    // upstreams, all, none: to whom a call's traceparent goes
	ServiceName string            `yaml:"service_name"` // the resource attribute service.name
	Resource    map[string]string `yaml:"resource"`     // more resource attributes
	Queue       int               `yaml:"queue"`        // spans that wait to be sent; more are dropped
	Timeout     time.Duration     `yaml:"timeout"`      // of one batch, repetitions included, and of the rest at the end
}

// Live is the websocket feed.
type Live struct {
	MaxClients    int           `yaml:"max_clients"`     // of each listener
	MaxPerAddress int           `yaml:"max_per_address"` // of one IPv4 address or IPv6 /64; of each listener
	MaxPublished  int           `yaml:"max_published"`   // topics of plugins
	MaxState      Bytes         `yaml:"max_state"`       // of one of these topics
	History       time.Duration `yaml:"history"`         // how far it goes back; 0 keeps none
	MaxHistory    Bytes         `yaml:"max_history"`     // on its way to clients, all together
	PingInterval  time.Duration `yaml:"ping_interval"`
	WriteTimeout  time.Duration `yaml:"write_timeout"`
}

// Demo is the built-in upstream that answers for "demo:" endpoints, on a loopback port.
type Demo struct {
	Delay     time.Duration `yaml:"delay"`      // before the first byte of an answer
	TokenGap  time.Duration `yaml:"token_gap"`  // between two streamed tokens
	ErrorRate float64       `yaml:"error_rate"` // 0 to 1, the share of requests answered 500
}

// Cache is what plugins keep in the server's memory.
type Cache struct {
	Memory Bytes `yaml:"memory"` // of all plugins together
}

// Capacity is what /api/metrics takes users to be: how long each thinks between an answer and the next question.
type Capacity struct {
	Light  time.Duration `yaml:"light"`
	Medium time.Duration `yaml:"medium"`
	Heavy  time.Duration `yaml:"heavy"`
}

// Client is the shared pool: outbound calls to hosts that are no named upstream.
type Client struct {
	MaxIdleConns    int           `yaml:"max_idle_conns"`
	MaxConns        int           `yaml:"max_conns"`
	IdleTimeout     time.Duration `yaml:"idle_timeout"`
	ConnectTimeout  time.Duration `yaml:"connect_timeout"`
	ResponseTimeout time.Duration `yaml:"response_timeout"` // until the response headers
	ChunkTimeout    time.Duration `yaml:"chunk_timeout"`    // between two chunks of a body
	MaxResponse     Bytes         `yaml:"max_response"`     // of one body, unpacked; 0 is no bound
	MaxWaiting      int           `yaml:"max_waiting"`      // calls that wait for a connection; 0 is no bound
}

// Upstream is a service the host calls by name, with a pool of its own.
type Upstream struct {
	Endpoints       []Endpoint    `yaml:"endpoints"`
	Private         bool          `yaml:"private"` // may resolve to private addresses
	MaxConns        int           `yaml:"max_conns"`
	MaxIdleConns    int           `yaml:"max_idle_conns"`
	IdleTimeout     time.Duration `yaml:"idle_timeout"`
	ConnectTimeout  time.Duration `yaml:"connect_timeout"`
	ResponseTimeout time.Duration `yaml:"response_timeout"`
	ChunkTimeout    time.Duration `yaml:"chunk_timeout"`
	MaxResponse     Bytes         `yaml:"max_response"` // of one body, unpacked; 0 is no bound
	TLS             UpstreamTLS   `yaml:"tls"`
	Proxy           string        `yaml:"proxy"`          // http://host:port that all calls go through; "" is none. Private speaks of its address then
	MaxWaiting      int           `yaml:"max_waiting"`    // calls that wait for a connection; 0 is no bound
	TimeoutHeader   string        `yaml:"timeout_header"` // tells the upstream how many milliseconds its head may take; "" is none
	Sticky          string        `yaml:"sticky"`         // calls with the same value of this header go to the same endpoint; "" is none
	Health          Health        `yaml:"health"`
	Queue           Queue         `yaml:"queue"`
	Retry           Retry         `yaml:"retry"`
	Breaker         Breaker       `yaml:"breaker"`
	Auth            Auth          `yaml:"auth"`
}

// UpstreamTLS says who vouches for the endpoints of an upstream. They are always verified.
type UpstreamTLS struct {
	CA string `yaml:"ca"` // a file of certificates in PEM form, trusted in place of the system's; "" is the system's
}

// Endpoint is one address of an upstream. A text in its place is its URL. Load fills in Weight.
type Endpoint struct {
	URL     string `yaml:"url"`     // a base URL, a full chat-completions URL, or demo:gpustack, demo:search
	Weight  int    `yaml:"weight"`  // its share, beside the others' weights
	Metrics string `yaml:"metrics"` // where Queue.Metric is read, in Prometheus' text format; "" is nowhere
}

// Health says when an endpoint is left out for a time, and how it comes back.
type Health struct {
	Path        string        `yaml:"path"`         // asked every Interval, without a secret; 2xx is healthy; "" asks nothing
	Interval    time.Duration `yaml:"interval"`     // between two checks of one endpoint
	Timeout     time.Duration `yaml:"timeout"`      // of one check
	Failures    int           `yaml:"failures"`     // in a row, of calls or of checks; 0 leaves no endpoint out
	Statuses    []int         `yaml:"statuses"`     // answers that count as failures of the endpoint
	Ejection    time.Duration `yaml:"ejection"`     // how long an endpoint is left out at first; doubles from time to time
	MaxEjection time.Duration `yaml:"max_ejection"` // what it doubles up to
	SlowStart   time.Duration `yaml:"slow_start"`   // until an endpoint that came back has its whole share
}

// Queue is the figure of an endpoint's own queue, which counts beside the calls under way.
type Queue struct {
	Metric   string        `yaml:"metric"`   // its samples are added up
	Interval time.Duration `yaml:"interval"` // between two looks at an endpoint's Metrics
}

// Retry says how calls are sent again that may be: GET, HEAD, OPTIONS, and what a plugin marks idempotent.
type Retry struct {
	Max      int           `yaml:"max"`       // of one call; 0 is none
	Statuses []int         `yaml:"statuses"`  // answers that are worth another try
	Delay    time.Duration `yaml:"delay"`     // before the first; doubles
	MaxDelay time.Duration `yaml:"max_delay"` // what it doubles up to
	MaxWait  time.Duration `yaml:"max_wait"`  // the longest wait for a Retry-After, with up to two thirds of it added by chance
	Budget   float64       `yaml:"budget"`    // retries of all calls, 0 to 1
}

// Breaker says when an upstream is asked nothing for a time.
type Breaker struct {
	FailureRate float64       `yaml:"failure_rate"` // of the calls within Window, 0 to 1; 0 is no breaker
	MinCalls    int           `yaml:"min_calls"`    // within Window, before the rate means anything
	Window      time.Duration `yaml:"window"`
	Open        time.Duration `yaml:"open"`   // how long nothing is asked
	Trials      int           `yaml:"trials"` // calls that are let through then; the first that goes well closes it
}

// Auth says which secret goes to an upstream and how. Load fills in As where there is a secret.
type Auth struct {
	Secret string `yaml:"secret"`
	As     string `yaml:"as"` // bearer, or the name of a header
}

// Secret is a value that no guest, log line or admin answer ever shows.
// Exactly one of Env and File is set; it is bound to Hosts or to one Upstream.
type Secret struct {
	Env      string   `yaml:"env"`
	File     string   `yaml:"file"`
	Hosts    []string `yaml:"hosts"`
	Upstream string   `yaml:"upstream"`
	Insecure bool     `yaml:"insecure"` // may travel over plain http
}

// Plugin is one entry of the plugins list, served in the order of the list.
type Plugin struct {
	Name      string         `yaml:"name"`
	Source    string         `yaml:"source"` // path of a .wasm, relative to the working folder
	Digest    string         `yaml:"digest"` // sha256:<hex>; "" is not pinned
	Routes    []string       `yaml:"routes"` // "METHOD /path", as in the manifest
	Workers   Workers        `yaml:"workers"`
	Isolation string         `yaml:"isolation"` // shared, fresh: an instance for each request
	Start     string         `yaml:"start"`     // snapshot, plain
	Limits    Limits         `yaml:"limits"`
	Recycle   Recycle        `yaml:"recycle"`
	Grant     Grant          `yaml:"grant"`
	Config    map[string]any `yaml:"config"`
}

// Limits bound what one plugin may take. Zero means the default.
type Limits struct {
	Memory   Bytes         `yaml:"memory"`    // linear memory of one worker
	Stack    Bytes         `yaml:"stack"`     // machine stack of one worker, for calls within calls
	CPU      time.Duration `yaml:"cpu"`       // CPU time of a worker between two polls
	Timeout  time.Duration `yaml:"timeout"`   // until the response head
	InFlight int           `yaml:"in_flight"` // requests in one worker
	Fetches  int           `yaml:"fetches"`   // outbound calls under way of one worker
	Answer   Bytes         `yaml:"answer"`    // one answer's body; 0 is the default, streams are not bound by it
	Headers  Bytes         `yaml:"headers"`   // one answer's headers, as the ABI writes them
	Log      int           `yaml:"log"`       // lines a second of what its guests log, all workers together
	Events   int           `yaml:"events"`    // events that it publishes, a minute, all workers together

	// Instances is how many serve one request each at a time, under isolation fresh and after repeated traps.
	Instances int `yaml:"instances"`
}

// Recycle says when a worker is replaced though nothing went wrong in it, beside the one reason that always holds: it has used most of
// its memory. Requests in it are answered first.
type Recycle struct {
	Requests int           `yaml:"requests"` // after so many; 0 is never
	Age      time.Duration `yaml:"age"`      // after so long; 0 is never
}

// Grant is what the operator allows a plugin to do. An empty grant allows nothing.
type Grant struct {
	Fetch   []Fetch   `yaml:"fetch"`
	Cache   Bytes     `yaml:"cache"`   // what it may keep in the server's cache; 0 is nothing
	Publish []Publish `yaml:"publish"` // topics that it may show people
	Headers []string  `yaml:"headers"` // request headers beyond the harmless ones, e.g. Authorization
}

// Publish allows one topic. The topic "events" adds to what the operator's events are, and is never public.
type Publish struct {
	Topic  string `yaml:"topic"`
	Public bool   `yaml:"public"` // everybody may see it, not the operator alone
}

// Fetch allows calls to one host or one named upstream. Methods and paths left out allow none.
// Load fills in Scheme and Port of a host, and As where there is a secret.
type Fetch struct {
	Upstream string   `yaml:"upstream"`
	Scheme   string   `yaml:"scheme"` // https unless the file says http
	Host     string   `yaml:"host"`   // exact, or *.example.com for all below it
	Port     int      `yaml:"port"`   // the scheme's unless the file says another
	Methods  []string `yaml:"methods"`
	Paths    []string `yaml:"paths"` // a path covers itself and what follows a "/"
	Private  bool     `yaml:"private"`
	Secret   string   `yaml:"secret"`
	As       string   `yaml:"as"` // bearer, or the name of a header
}
