package exposition

import "github.com/prometheus/client_golang/prometheus"

// measure is one metric of things of a kind. A new metric is a new line in a table of them.
type measure[T any] struct {
	name  string // without the prefix patchbay_
	help  string
	kind  prometheus.ValueType
	value func(T) float64
}

const (
	gauge   = prometheus.GaugeValue
	counter = prometheus.CounterValue
)

// family is measures that have the same labels.
type family[T any] struct {
	measures []measure[T]
	descs    []*prometheus.Desc // of measures
}

func describe[T any](measures []measure[T], labels ...string) family[T] {
	f := family[T]{measures: measures}
	for _, m := range measures {
		f.descs = append(f.descs, prometheus.NewDesc("patchbay_"+m.name, m.help, labels, nil))
	}
	return f
}

func (f family[T]) describe(out chan<- *prometheus.Desc) {
	for _, d := range f.descs {
		out <- d
	}
}

func (f family[T]) collect(out chan<- prometheus.Metric, v T, labels ...string) {
	for i, m := range f.measures {
		out <- prometheus.MustNewConstMetric(f.descs[i], m.kind, m.value(v), labels...)
	}
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
