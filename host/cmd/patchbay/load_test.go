package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/guesttest"
)

// BenchmarkSearches sends 1,000 searches at once to a server process of its own, with one worker and a provider
// that answers after one second, and looks at /api/health meanwhile. The server's memory and CPU time are the
// process's own; load and provider are in this one.
func BenchmarkSearches(b *testing.B) {
	const searches = 1000
	for _, conns := range []int{1000, 200} {
		b.Run(fmt.Sprint("conns=", conns), func(b *testing.B) {
			provider := startProvider(b, time.Second)
			for b.Loop() {
				s := startServer(b, searchConfig(b, provider, conns))
				s.post(b, "/api/tools/search", `{"q":"warm up"}`)
				time.Sleep(time.Second) // what the start left behind goes
				before, cpu := s.memory(b), s.cpu(b)
				ctx, stop := context.WithCancel(context.Background())
				health := s.watchHealth(ctx, b)
				peak := s.watchMemory(ctx, b)
				began := time.Now()
				var all sync.WaitGroup
				for i := range searches {
					all.Go(func() { s.post(b, "/api/tools/search", fmt.Sprintf(`{"q":"query %d"}`, i)) })
				}
				all.Wait()
				b.ReportMetric(time.Since(began).Seconds(), "wall-s")
				stop()
				b.ReportMetric(<-health, "health-p99-ms")
				b.ReportMetric((<-peak-before)/(1<<20), "more-MiB")
				b.ReportMetric((s.cpu(b)-cpu).Seconds()*1e3/searches, "cpu-ms/search")
				s.stop(b)
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// startProvider serves Tavily's protocol from a socket, and gives its URL. It does as little as can be, since it shares the
// processor with the server: one goroutine a connection, and an answer that is made once.
func startProvider(b *testing.B, delay time.Duration) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { listener.Close() })
	answer := tavilyAnswer(b)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				reader := bufio.NewReader(conn)
				for {
					req, err := http.ReadRequest(reader)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, req.Body)
					time.Sleep(delay)
					if _, err := conn.Write(answer); err != nil {
						return
					}
				}
			}()
		}
	}()
	return "http://" + listener.Addr().String()
}

func tavilyAnswer(b *testing.B) []byte {
	type result struct {
		Title   string  `json:"title"`
		URL     string  `json:"url"`
		Content string  `json:"content"`
		Raw     string  `json:"raw_content"`
		Score   float64 `json:"score"`
	}
	var out struct {
		Results []result `json:"results"`
	}
	for i := range 8 {
		text := fmt.Sprintf("Result %d. Costs fell from $3.50 to $1.25 per million tokens. ", i) +
			strings.Repeat("The sandbox keeps each plugin in a memory of its own. ", 20)
		out.Results = append(out.Results, result{fmt.Sprint("Title ", i), fmt.Sprint("https://example.org/", i), text[:300], text, 0.9})
	}
	body, err := json.Marshal(out)
	if err != nil {
		b.Fatal(err)
	}
	return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

func searchConfig(b *testing.B, provider string, conns int) string {
	host, port, err := net.SplitHostPort(strings.TrimPrefix(provider, "http://"))
	if err != nil {
		b.Fatal(err)
	}
	return fmt.Sprintf(`
client: {max_conns: %d}
cache_dir: %q
secrets:
  tavily: {env: TAVILY_API_KEY, hosts: [%s], insecure: true}
plugins:
  - name: search
    source: %q
    routes: ["POST /api/tools/search"]
    workers: 1
    grant:
      fetch:
        - {host: %s, scheme: http, port: %s, private: true, methods: [POST], paths: [/search], secret: tavily}
    config: {provider: tavily, tavily: {endpoint: %q}}
`, conns, filepath.Join(guesttest.Cache(b), "server"), host,
		guesttest.Build(b, filepath.Join(guesttest.Root(), "plugins", "search")), host, port, provider)
}

// serverProcess is a patchbay process.
type serverProcess struct {
	cmd *exec.Cmd
	url string
}

func startServer(b *testing.B, config string) *serverProcess {
	b.Helper()
	dir := b.TempDir()
	binary := filepath.Join(dir, "patchbay")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	file := filepath.Join(dir, "host.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		b.Fatal(err)
	}
	s := &serverProcess{url: "http://" + freeAddr(b)}
	s.cmd = exec.Command(binary, "serve", "--config", file, "--listen", strings.TrimPrefix(s.url, "http://"), "--set", "admin.listen="+freeAddr(b))
	s.cmd.Env = []string{"TAVILY_API_KEY=a-key-for-the-benchmark"}
	if err := s.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.cmd.Process.Kill() })
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get(s.url + "/readyz")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return s
			}
		}
		if time.Now().After(deadline) {
			b.Fatal("the server was not ready in 30 s: ", err)
		}
	}
}

// freeAddr is an address that nobody listens at. It is of a host that nobody else uses, where there are such: what was let go stays free.
func freeAddr(b testing.TB) string {
	host := "127.0.0.1"
	if runtime.GOOS == "linux" {
		host = fmt.Sprintf("127.%d.%d.%d", 64+rand.IntN(64), rand.IntN(256), 1+rand.IntN(254))
	}
	l, err := net.Listen("tcp", host+":0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// post sends one request on a connection of its own, from one goroutine.
func (s *serverProcess) post(b *testing.B, path, body string) {
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		b.Error(err)
		return
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body); err != nil {
		b.Error(err)
		return
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		b.Error(err)
		return
	}
	if n, err := io.Copy(io.Discard, resp.Body); err != nil || n < 100 || resp.StatusCode != http.StatusOK {
		b.Errorf("status %d, %d bytes, %v", resp.StatusCode, n, err)
	}
}

// watchHealth asks for /api/health until ctx ends, from a process of its own: this one is busy with the load. It gives the
// 99th percentile of the answers' latencies in milliseconds.
func (s *serverProcess) watchHealth(ctx context.Context, b *testing.B) <-chan float64 {
	cmd := exec.Command("watch-health", s.url+"/api/health")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	var said strings.Builder
	cmd.Stdout = &said
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	out := make(chan float64, 1)
	go func() {
		<-ctx.Done()
		_ = stdin.Close()
		_ = cmd.Wait()
		p99, _ := strconv.ParseFloat(strings.TrimSpace(said.String()), 64)
		out <- p99
	}()
	return out
}

// watchHealthMain is the process of watchHealth: one connection and one thread of control, so that little of what it measures is its
// own. It ends with its standard input.
func watchHealthMain() {
	done := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(done)
	}()
	took, err := probe(os.Args[1], done)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	slices.Sort(took)
	fmt.Println(took[len(took)*99/100])
}

// probe asks for url each 5 ms until done, and gives the latencies in milliseconds.
func probe(url string, done <-chan struct{}) (took []float64, err error) {
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		return nil, err
	}
	conn, err := net.Dial("tcp", req.URL.Host)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	reader := bufio.NewReader(conn)
	for {
		select {
		case <-done:
			return took, nil
		case <-time.After(5 * time.Millisecond):
		}
		began := time.Now()
		if err := req.Write(conn); err != nil {
			return nil, err
		}
		resp, err := http.ReadResponse(reader, req)
		if err != nil {
			return nil, err
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			return nil, err
		}
		took = append(took, time.Since(began).Seconds()*1e3)
	}
}

func (s *serverProcess) watchMemory(ctx context.Context, b *testing.B) <-chan float64 {
	out := make(chan float64, 1)
	go func() {
		peak := 0.0
		for ctx.Err() == nil {
			peak = max(peak, s.memory(b))
			time.Sleep(20 * time.Millisecond)
		}
		out <- peak
	}()
	return out
}

// memory is the process's resident set, in bytes.
func (s *serverProcess) memory(b *testing.B) float64 {
	fields := strings.Fields(s.proc(b, "statm"))
	pages, err := strconv.ParseFloat(fields[1], 64)
	if err != nil {
		b.Error(err)
	}
	return pages * float64(os.Getpagesize())
}

// cpu is the CPU time of the process; proc(5) counts it in hundredths of a second.
func (s *serverProcess) cpu(b *testing.B) time.Duration {
	_, rest, _ := strings.Cut(s.proc(b, "stat"), ") ")
	fields := strings.Fields(rest)
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

func (s *serverProcess) proc(b *testing.B, name string) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", s.cmd.Process.Pid, name))
	if err != nil {
		b.Fatal(err)
	}
	return string(text)
}

func (s *serverProcess) stop(b *testing.B) {
	_ = s.cmd.Process.Signal(os.Interrupt)
	if err := s.cmd.Wait(); err != nil {
		b.Error("the server's end: ", err)
	}
}
