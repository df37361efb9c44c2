package config

import (
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// maxCount bounds settings that count connections or clients: beyond it a mistyped number is
// likelier than a wish.
const maxCount = 1_000_000

func (v *validator) server() {
	p, s := path{"server"}, &v.Server
	v.listen(p.key("listen"), s.Listen)
	v.size(p.key("max_body"), s.MaxBody, 1, TiB)
	v.size(p.key("max_header"), s.MaxHeader, KiB, 16*MiB)
	v.number(p.key("max_conns"), int64(s.MaxConns), 0, maxCount)
	v.positive(p.key("read_header_timeout"), s.ReadHeaderTimeout)
	v.positive(p.key("read_timeout"), s.ReadTimeout)
	v.positive(p.key("write_timeout"), s.WriteTimeout)
	v.positive(p.key("idle_timeout"), s.IdleTimeout)
	v.notNegative(p.key("stop_delay"), s.StopDelay)
	v.notNegative(p.key("drain_timeout"), s.DrainTimeout) // zero: do not wait
	v.positive(p.key("upgrade_timeout"), s.UpgradeTimeout)
	v.notNegative(p.key("upgrade_drain"), s.UpgradeDrain)
	for i, proxy := range s.TrustedProxies {
		at := p.key("trusted_proxies").index(i)
		_, prefixErr := netip.ParsePrefix(proxy)
		_, addrErr := netip.ParseAddr(proxy)
		if prefixErr != nil && addrErr != nil {
			v.fault(at, "want an address or a CIDR prefix such as 10.0.0.0/8, got %s", v.text(at, proxy))
		}
	}
	for i, o := range s.CORS.Origins {
		at := p.key("cors", "origins").index(i)
		if !isOrigin(o) {
			v.fault(at, `want "*" or an origin as browsers send it, such as https://example.com, got %s`, v.text(at, o))
		}
	}
	v.tls(p.key("tls"), s.TLS)
}

func (v *validator) admin() {
	p, public := path{"admin", "listen"}, path{"server", "listen"}
	if !v.listen(p, v.Admin.Listen) || !v.known(p, public) || !collide(v.Admin.Listen, v.Server.Listen) {
		return
	}
	if v.origin(p).source == "" {
		p = public // the one that somebody wrote
	}
	v.fault(p, "server.listen and admin.listen want the same port; give each its own")
}

// rest judges the sections that are a few figures each.
func (v *validator) rest() {
	v.oneOf(path{"log", "level"}, v.Log.Level, "debug", "info", "warn", "error")
	v.oneOf(path{"log", "format"}, v.Log.Format, "text", "json")
	v.size(path{"log", "buffer"}, v.Log.Buffer, 64*KiB, GiB)

	p := path{"live"}
	v.number(p.key("max_clients"), int64(v.Live.MaxClients), 1, maxCount)
	v.number(p.key("max_per_address"), int64(v.Live.MaxPerAddress), 1, maxCount)
	v.number(p.key("max_published"), int64(v.Live.MaxPublished), 1, 10000)
	v.size(p.key("max_state"), v.Live.MaxState, 1, 16*MiB)
	v.notNegative(p.key("history"), v.Live.History)
	v.size(p.key("max_history"), v.Live.MaxHistory, MiB, 1024*GiB)
	v.positive(p.key("ping_interval"), v.Live.PingInterval)
	v.positive(p.key("write_timeout"), v.Live.WriteTimeout)

	p = path{"demo"}
	v.notNegative(p.key("delay"), v.Demo.Delay)
	v.notNegative(p.key("token_gap"), v.Demo.TokenGap)
	if v.Demo.ErrorRate < 0 || v.Demo.ErrorRate > 1 {
		v.fault(p.key("error_rate"), "want 0 to 1, got %v", v.Demo.ErrorRate)
	}

	v.size(path{"cache", "memory"}, v.Cache.Memory, MiB, 1024*GiB)

	p = path{"capacity"}
	v.notNegative(p.key("light"), v.Capacity.Light)
	v.notNegative(p.key("medium"), v.Capacity.Medium)
	v.notNegative(p.key("heavy"), v.Capacity.Heavy)

	p, client := path{"client"}, &v.Client
	v.number(p.key("max_idle_conns"), int64(client.MaxIdleConns), 0, maxCount)
	v.number(p.key("max_conns"), int64(client.MaxConns), 1, maxCount)
	v.positive(p.key("idle_timeout"), client.IdleTimeout)
	v.positive(p.key("connect_timeout"), client.ConnectTimeout)
	v.positive(p.key("response_timeout"), client.ResponseTimeout)
	v.positive(p.key("chunk_timeout"), client.ChunkTimeout)
	v.size(p.key("max_response"), client.MaxResponse, 0, TiB)
	v.number(p.key("max_waiting"), int64(client.MaxWaiting), 0, maxCount)
}

// notNegative wants a duration for which zero means none.
func (v *validator) notNegative(p path, d time.Duration) {
	if d < 0 {
		v.fault(p, "want a duration of zero or more, got %s", formatDuration(d))
	}
}

// listen wants host:port and reports whether it is one. Port 0 lets the system choose.
func (v *validator) listen(p path, address string) bool {
	host, port, err := net.SplitHostPort(address)
	ok := err == nil && isPort(port) && (host == "" || isHost(strings.ToLower(host)))
	if !ok {
		v.fault(p, "want host:port, such as 127.0.0.1:8000, got %s", v.text(p, address))
	}
	return ok
}

// isPort reports whether s is a port in digits.
func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && strconv.FormatUint(n, 10) == s
}

// collide reports whether two listeners would want the same port. Both are host:port.
func collide(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false
	}
	return hostA == hostB || isEveryAddress(hostA) || isEveryAddress(hostB)
}

// isEveryAddress reports whether a listener on this host takes the port on all addresses.
func isEveryAddress(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "" || err == nil && addr.IsUnspecified()
}

// tls wants both files or neither, and that they are there.
func (v *validator) tls(p path, t TLS) {
	cert, key := p.key("cert"), p.key("key")
	if (t.Cert == "") != (t.Key == "") && v.known(cert, key) {
		missing := cert
		if t.Key == "" {
			missing = key
		}
		v.fault(missing, "TLS needs a cert and a key; give both or neither")
	}
	v.file(cert, t.Cert)
	v.file(key, t.Key)
}

// file wants a file that is there, where one is named.
func (v *validator) file(p path, name string) {
	if name == "" {
		return
	}
	info, err := os.Stat(name)
	switch {
	case err != nil:
		folder, _ := os.Getwd()
		v.fault(p, "there is no readable file %s; relative paths start at %s", v.text(p, name), folder)
	case info.IsDir():
		v.fault(p, "%s is a folder", v.text(p, name))
	}
}

// isOrigin reports whether s is "*" or what a browser sends as Origin: scheme, host and perhaps a
// port, in lower case.
func isOrigin(s string) bool {
	if s == "*" {
		return true
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" || u.Hostname() == "" || s != strings.ToLower(s) {
		return false
	}
	return s == u.Scheme+"://"+u.Host && u.User == nil && (u.Port() == "" || isPort(u.Port()))
}
