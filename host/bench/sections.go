package main

const engine = "host/internal/wasm"

// sections is everything that is measured, in this order.
func sections() []section {
	return []section{requests(), metering(), stopping(), waiting(), starting(), loading(), overHTTPSection(), capacitySection(), healthSection(), telemetrySection()}
}

func requests() section {
	s := section{name: "requests", parts: []part{
		{dir: engine, bench: "^Benchmark(Serve|Events)$", time: "200ms", short: "20ms"},
		{dir: "host/bench/peers/extism", own: true, bench: "^BenchmarkExtism$", time: "200ms", short: "20ms"},
		{dir: "host/bench/peers/httpwasm", own: true, bench: "^BenchmarkHTTPWasm$", time: "200ms", short: "20ms"},
	}}
	micro := func(name string) cell { return cell{name: name, unit: " µs", per: 1e3} }
	ours := table{
		title: "A request through the engine, without HTTP",
		note:  "Serve is the whole path; events is the event path alone: the requests lie in the mailbox, one poll works them off. Time per request, and CPU time of the process.",
		head:  []string{"", "alone", "64 at once", "1,000 at once", "CPU alone", "CPU at 64"},
	}
	peers := table{
		title: "The same by others",
		note:  "Extism go-sdk v1.7.1: \"own\" is the no-op it times itself with; one instance, or one for each CPU. http-wasm-host-go v0.7.0: one guest, or 64 requests at once. The ratio is to ours: Serve in the same language, alone to alone and many to many.",
		head:  []string{"", "alone", "many", "CPU alone", "to ours alone", "to ours at 64", "by CPU time, alone"},
	}
	for _, lang := range []string{"go", "c"} {
		for _, what := range []string{"noop", "echo", "fetch"} {
			for _, path := range []string{"Serve", "Events"} {
				of := path + "/" + lang + "/" + what
				l := line{what: guestNames(lang) + ", " + whatNames(what) + ", " + path}
				for _, n := range []string{"/1 ns/op", "/64 ns/op", "/1000 ns/op", "/1 cpu-ns/op", "/64 cpu-ns/op"} {
					l.cells = append(l.cells, micro(of+n))
				}
				ours.lines = append(ours.lines, l)
			}
		}
	}
	for _, p := range []struct{ name, title, many, ours string }{
		{"Extism/own/noop", "Extism, its own no-op", "/all", "go/noop"},
		{"Extism/go/noop", "Extism, Go PDK, no-op", "/all", "go/noop"},
		{"Extism/go/echo", "Extism, Go PDK, 1 KiB echo", "/all", "go/echo"},
		{"Extism/c/noop", "Extism, C, no-op", "/all", "c/noop"},
		{"Extism/c/echo", "Extism, C, 1 KiB echo", "/all", "c/echo"},
		{"HTTPWasm/c/noop", "http-wasm, C, no-op", "/64", "c/noop"},
		{"HTTPWasm/c/echo", "http-wasm, C, 1 KiB echo", "/64", "c/echo"},
	} {
		of := "Serve/" + p.ours
		peers.lines = append(peers.lines, line{p.title, []cell{
			micro(p.name + "/1 ns/op"), micro(p.name + p.many + " ns/op"), micro(p.name + "/1 cpu-ns/op"),
			{name: p.name + "/1 ns/op", by: of + "/1 ns/op"}, {name: p.name + p.many + " ns/op", by: of + "/64 ns/op"},
			{name: p.name + "/1 cpu-ns/op", by: of + "/1 cpu-ns/op"},
		}})
	}
	s.tables = []table{ours, peers}
	s.musts = []must{
		{what: "std-Go request, batched, Serve at 64", cell: micro("Serve/go/noop/64 ns/op"), most: 6},
		{what: "std-Go request, batched, event path at 64", cell: micro("Events/go/noop/64 ns/op"), most: 6},
		{what: "std-Go request with a fetch, batched, Serve at 64", cell: micro("Serve/go/fetch/64 ns/op"), most: 15},
		{what: "C request, event path at 64", cell: micro("Events/c/noop/64 ns/op"), most: 0.5},
		{what: "C request, batched, Serve at 64", cell: micro("Serve/c/noop/64 ns/op"), most: 0.5},
		{what: "Extism's own no-op to our C no-op, alone", cell: cell{name: "Extism/own/noop/1 ns/op", by: "Serve/c/noop/1 ns/op"}, least: 5},
		{what: "Extism's own no-op to our std-Go no-op, alone", cell: cell{name: "Extism/own/noop/1 ns/op", by: "Serve/go/noop/1 ns/op"}, least: 5},
		{what: "Extism's own no-op, alone, to our std-Go no-op, 64 at once", cell: cell{name: "Extism/own/noop/1 ns/op", by: "Serve/go/noop/64 ns/op"}, least: 5},
	}
	return s
}

func guestNames(lang string) string { return map[string]string{"go": "std Go", "c": "C"}[lang] }

func whatNames(what string) string {
	return map[string]string{"noop": "no-op", "echo": "1 KiB echo", "fetch": "one fetch"}[what]
}

func metering() section {
	s := section{name: "metering", parts: []part{{dir: engine + "/meter", bench: "^BenchmarkMeter$", time: "500ms", short: "50ms"}}}
	t := table{
		title: "Metering",
		note:  "Time of the same guest, to plain wazero: metered, and with WithCloseOnContextDone.",
		head:  []string{"", "plain", "metered", "WithCloseOnContextDone"},
	}
	for _, c := range [][2]string{
		{"empty", "empty loop"}, {"loop", "Go, arithmetic loop"}, {"fib", "Go, recursive calls"}, {"alloc", "Go, allocating"},
		{"recode", "Go, JSON"}, {"move", "Go, byte loops"},
	} {
		of := "Meter/" + c[0]
		t.lines = append(t.lines, line{c[1], []cell{{name: of + " plain-us", unit: " µs"}, {name: of + " metered-ratio", unit: "×"}, {name: of + " closeondone-ratio", unit: "×"}}})
	}
	s.tables = []table{t}
	s.musts = []must{
		{what: "metering, JSON", cell: cell{name: "Meter/recode metered-ratio", unit: "×"}, most: 1.15},
		{what: "metering, allocating", cell: cell{name: "Meter/alloc metered-ratio", unit: "×"}, most: 1.15},
		{what: "metering, empty loop", cell: cell{name: "Meter/empty metered-ratio", unit: "×"}, most: 2},
	}
	return s
}

func stopping() section {
	s := section{name: "stop", parts: []part{
		{dir: engine, bench: "^BenchmarkStop$", time: "20x", short: "3x"},
		{dir: engine, bench: "^BenchmarkPause$", time: "300ms", short: "50ms"},
		{dir: engine + "/meter", bench: "^BenchmarkPause$", time: "3x", short: "1x"},
	}}
	t := table{
		title: "Stopping a guest, and the host's collector while a guest loops",
		head:  []string{"", "median", "p99", "longest"},
	}
	for _, c := range [][2]string{
		{"Stop/loop cpu-", "from the CPU limit to the end of a loop, CPU time"}, {"Stop/loop ", "the same by the clock"},
		{"Stop/fill cpu-", "from the CPU limit to the end of fills of 1 GiB, CPU time"}, {"Stop/fill ", "the same by the clock"},
		{"Pause/stop ", "the host stops its world while a guest loops"}, {"Pause/collect ", "a whole collection of the host meanwhile"},
		{"Pause/plain ", "the host stops its world while a guest loops, plain wazero"}, {"Pause/plain loop-", "how long that guest loops"},
	} {
		l := line{what: c[1]}
		for _, unit := range []string{"p50-ms", "p99-ms", "max-ms"} {
			if c[0] == "Pause/plain loop-" {
				unit = "ms"
			}
			l.cells = append(l.cells, cell{name: c[0] + unit, unit: " ms"})
		}
		t.lines = append(t.lines, l)
	}
	s.tables = []table{t}
	s.musts = []must{
		{what: "stop after the limit, a loop, p99", cell: cell{name: "Stop/loop cpu-p99-ms", unit: " ms"}, most: 5},
		{what: "stop after the limit, bulk instructions, p99", cell: cell{name: "Stop/fill cpu-p99-ms", unit: " ms"}, most: 5},
		{what: "host GC pause while a guest loops, p99", cell: cell{name: "Pause/stop p99-ms", unit: " ms"}, most: 20},
	}
	return s
}

func waiting() section {
	s := section{name: "waiting", parts: []part{{dir: engine, bench: "^BenchmarkWaiting$", time: "1x"}}}
	t := table{
		title: "Requests that wait, in one instance",
		note:  "Growth of the guest's linear memory per request, and of the process's resident memory with that in it.",
		head:  []string{"", "guest", "process"},
	}
	for _, what := range []string{"fetch", "sleep"} {
		for _, n := range []string{"1000", "5000", "20000"} {
			of := "Waiting/" + what + "/" + n
			t.lines = append(t.lines, line{n + " in a " + what, []cell{{name: of + " guest-KiB", unit: " KiB"}, {name: of + " host-KiB", unit: " KiB"}}})
		}
	}
	s.tables = []table{t}
	s.musts = []must{
		{what: "guest memory per waiting request, 20,000 fetches", cell: cell{name: "Waiting/fetch/20000 guest-KiB", unit: " KiB"}, most: 4},
		{what: "guest memory per waiting request, 20,000 sleeps", cell: cell{name: "Waiting/sleep/20000 guest-KiB", unit: " KiB"}, most: 4},
	}
	return s
}

func starting() section {
	s := section{name: "start", parts: []part{{dir: engine, bench: "^Benchmark(Worker|Start)$", time: "200x", short: "10x"}}}
	t := table{
		title: "Starting a std-Go worker, metered, until it can serve",
		note:  "Memory is of one, while a hundred are there: its own, and with the pages that it shares. The last line is `isolation: fresh`, a request and its instance's end included.",
		head:  []string{"", "plain", "from a snapshot", "ratio"},
	}
	for _, c := range [][4]string{
		{"Worker/", " ns/op", "start", "ms"}, {"Worker/", "/memory pss-KiB", "memory of its own", "KiB"},
		{"Worker/", "/memory rss-KiB", "resident memory", "KiB"}, {"Start/", " ns/op", "a no-op in an instance of its own", "ms"},
	} {
		per := 1.0
		if c[3] == "ms" {
			per = 1e6
		}
		plain, copied := c[0]+"plain"+c[1], c[0]+"snapshot"+c[1]
		t.lines = append(t.lines, line{c[2], []cell{{name: plain, unit: " " + c[3], per: per}, {name: copied, unit: " " + c[3], per: per}, {name: plain, by: copied}}})
	}
	s.tables = []table{t}
	s.musts = []must{
		{what: "start from a snapshot", cell: cell{name: "Worker/snapshot ns/op", unit: " ms", per: 1e6}, most: 0.4},
		{what: "resident memory of an instance from a snapshot", cell: cell{name: "Worker/snapshot/memory rss-KiB", unit: " KiB"}, most: 150},
	}
	return s
}

func loading() section {
	s := section{name: "load", parts: []part{
		{dir: engine, bench: "^BenchmarkCompile$", time: "3x", short: "1x"},
		{dir: engine, bench: "^BenchmarkCycle$", time: "2000x", short: "50x", once: true},
	}}
	const cycle = "Cycle "
	s.tables = []table{
		{title: "Compiling a std-Go guest", head: []string{"", "time"}, lines: []line{
			{"cold", []cell{{name: "Compile/cold ns/op", unit: " ms", per: 1e6}}},
			{"from the cache", []cell{{name: "Compile/cached ns/op", unit: " ms", per: 1e6}}},
			{"ratio", []cell{{name: "Compile/cold ns/op", by: "Compile/cached ns/op"}}},
		}},
		{
			title: "2,000 times: load, start, answer, close",
			note:  "Growth since the hundredth time.",
			head:  []string{"", "one time", "heap", "mappings", "goroutines", "file descriptors"},
			lines: []line{{"", []cell{
				{name: cycle + "ns/op", unit: " ms", per: 1e6}, {name: cycle + "heap-KiB", unit: " KiB"},
				{name: cycle + "mappings"}, {name: cycle + "goroutines"}, {name: cycle + "files"},
			}}},
		},
	}
	for _, m := range []must{
		{what: "heap", cell: cell{name: cycle + "heap-KiB", unit: " KiB"}, most: 200}, // a tenth of a KiB each time
		{what: "mappings", cell: cell{name: cycle + "mappings"}, most: 20},            // the runtime's own heap is mapped in pieces
		{what: "goroutines", cell: cell{name: cycle + "goroutines"}},
		{what: "file descriptors", cell: cell{name: cycle + "files"}},
	} {
		m.what = "growth over 2,000 loads, " + m.what
		s.musts = append(s.musts, m)
	}
	return s
}
