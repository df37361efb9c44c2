// Package exposition tells Prometheus what the host holds: plugins, their caches, upstreams, the feed, and how many users can be
// served. Requests are counted where they pass, by package telemetry, and are not told here.
//
// It keeps no figures: each scrape reads what there is. Names and units follow https://prometheus.io/docs/practices/naming; labels
// are names of the configuration and of the code, never what a client or a guest said.
package exposition

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/patchbay-run/patchbay/host/internal/cache"
	"github.com/patchbay-run/patchbay/host/internal/telemetry"
	"github.com/patchbay-run/patchbay/host/internal/upstream"
	"github.com/patchbay-run/patchbay/host/internal/wasm"
)

// Source is what is told. Its methods are called from many scrapes at once and wait for nobody.
type Source interface {
	Exposed() State
}

// State is everything at one moment.
type State struct {
	Plugins   []Plugin
	Upstreams []upstream.Stats
	Feed      Feed
	Capacity  telemetry.Capacity
	Config    Config
}

// Plugin is a configured plugin.
type Plugin struct {
	Name    string
	Version string // "" when nothing serves
	Up      bool   // a generation serves
	Stale   bool   // it is not the newest
	Now     wasm.Stats
	Total   Total
	Cache   *cache.Stats // nil without a grant
}

// Total counts over all generations of a plugin.
type Total struct {
	Requests, Traps, Swaps int64
	Busy                   float64 // seconds
	Recycled, Limits       map[string]int64
}

// Feed is the websocket feed.
type Feed struct {
	Clients int
	Topics  int
	Frames  int64
	Bytes   int64
	Dropped int64 // clients that read too slowly
	Refused int64 // clients that found no place

	HistoryHeld    int64 // bytes of history on its way to clients
	HistoryRefused int64 // answers with history that were left out
}

// Config is the configuration in force.
type Config struct {
	Failed  bool    // the newest file was not taken
	Applied float64 // when the one in force was, in Unix seconds
}

// Collector is the prometheus.Collector of a Source.
type Collector struct {
	source    Source
	plugins   family[Plugin]
	limits    *prometheus.Desc
	recycled  *prometheus.Desc
	modes     *prometheus.Desc
	info      *prometheus.Desc
	caches    family[*cache.Stats]
	pools     family[upstream.Stats]
	head      *prometheus.Desc
	whole     *prometheus.Desc
	named     family[*upstream.NamedStats]
	endpoints family[upstream.EndpointStats]
	host      family[State]
	users     *prometheus.Desc
	bounds    family[telemetry.CapacityBound]
}

// New makes the collector of what source holds.
func New(source Source) *Collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("patchbay_"+name, help, labels, nil)
	}
	return &Collector{
		source:    source,
		plugins:   describe(pluginMeasures(), "plugin"),
		limits:    desc("plugin_limit_hits_total", "How often a limit was met, by its setting below plugins[].limits.", "plugin", "limit"),
		recycled:  desc("plugin_recycled_workers_total", "Workers that were replaced though nothing was wrong, by reason: memory, requests or age.", "plugin", "reason"),
		modes:     desc("plugin_mode", "1 for how requests are served now: shared, fresh, degraded (fresh for a while, after traps) or open (refused).", "plugin", "mode"),
		info:      desc("plugin_info", "Always 1; the labels say which version serves.", "plugin", "version"),
		caches:    describe(cacheMeasures(), "plugin"),
		pools:     describe(poolMeasures(), "upstream"),
		head:      desc("upstream_call_head_seconds", "Time from a call's connection to the head of its answer.", "upstream"),
		whole:     desc("upstream_call_duration_seconds", "Time from a call's connection to its end, streams and failures included, without the wait for a connection.", "upstream"),
		named:     describe(namedMeasures(), "upstream"),
		endpoints: describe(endpointMeasures(), "upstream", "endpoint"),
		host:      describe(hostMeasures()),
		users:     desc("capacity_users", "How many users can be served at the most, by how much they think: light, medium or heavy.", "usage"),
		bounds:    describe(boundMeasures(), "setting", "kind"),
	}
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(out chan<- *prometheus.Desc) {
	c.plugins.describe(out)
	c.caches.describe(out)
	c.pools.describe(out)
	c.named.describe(out)
	c.endpoints.describe(out)
	c.host.describe(out)
	c.bounds.describe(out)
	for _, d := range []*prometheus.Desc{c.limits, c.recycled, c.modes, c.info, c.head, c.whole, c.users} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(out chan<- prometheus.Metric) {
	s := c.source.Exposed()
	for _, p := range s.Plugins {
		c.plugin(out, p)
	}
	for _, u := range s.Upstreams {
		c.upstream(out, u)
	}
	c.host.collect(out, s)
	for usage, n := range map[string]int64{"light": s.Capacity.Users.Light, "medium": s.Capacity.Users.Medium, "heavy": s.Capacity.Users.Heavy} {
		out <- prometheus.MustNewConstMetric(c.users, prometheus.GaugeValue, float64(n), usage)
	}
	for _, b := range s.Capacity.Bounds {
		c.bounds.collect(out, b, b.Setting, b.Kind)
	}
}

func (c *Collector) plugin(out chan<- prometheus.Metric, p Plugin) {
	c.plugins.collect(out, p, p.Name)
	for limit, hits := range p.Total.Limits {
		out <- prometheus.MustNewConstMetric(c.limits, prometheus.CounterValue, float64(hits), p.Name, limit)
	}
	for reason, n := range p.Total.Recycled {
		out <- prometheus.MustNewConstMetric(c.recycled, prometheus.CounterValue, float64(n), p.Name, reason)
	}
	if p.Now.Mode != "" {
		out <- prometheus.MustNewConstMetric(c.modes, prometheus.GaugeValue, 1, p.Name, p.Now.Mode)
	}
	if p.Up {
		out <- prometheus.MustNewConstMetric(c.info, prometheus.GaugeValue, 1, p.Name, p.Version)
	}
	if p.Cache != nil {
		c.caches.collect(out, p.Cache, p.Name)
	}
}

func (c *Collector) upstream(out chan<- prometheus.Metric, u upstream.Stats) {
	c.pools.collect(out, u, u.Pool)
	out <- prometheus.MustNewConstHistogram(c.head, u.Head.Count, u.Head.Sum, u.Head.Buckets, u.Pool)
	out <- prometheus.MustNewConstHistogram(c.whole, u.Whole.Count, u.Whole.Sum, u.Whole.Buckets, u.Pool)
	if u.Upstream == nil {
		return
	}
	c.named.collect(out, u.Upstream, u.Pool)
	for _, e := range u.Upstream.Endpoints {
		c.endpoints.collect(out, e, u.Pool, e.Endpoint)
	}
}
