package handover

import (
	"os"
	"strings"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func TestParse(t *testing.T) {
	const pid, ppid = 40, 30
	for _, c := range []struct {
		name    string
		environ []string
		places  string // name@fd, in order
		report  int
		fault   string
	}{
		{"nothing", []string{"HOME=/root"}, "", 0, ""},
		{"systemd", []string{"LISTEN_PID=40", "LISTEN_FDS=2", "LISTEN_FDNAMES=admin:public"}, "admin@3 public@4", 0, ""},
		{"another process's", []string{"LISTEN_PID=41", "LISTEN_FDS=2", "LISTEN_FDNAMES=admin:public"}, "", 0, ""},
		{"of nobody", []string{"LISTEN_FDS=2", "LISTEN_FDNAMES=admin:public"}, "", 0, ""},
		{"no number of a process", []string{"LISTEN_PID=x", "LISTEN_FDS=2"}, "", 0, ""},
		{"no number of sockets", []string{"LISTEN_PID=40", "LISTEN_FDS=two", "LISTEN_FDNAMES=public"}, "", 0, `LISTEN_FDS is "two"`},
		{"a negative number", []string{"LISTEN_PID=40", "LISTEN_FDS=-1", "LISTEN_FDNAMES=public"}, "", 0, "LISTEN_FDS"},
		{"too many", []string{"LISTEN_PID=40", "LISTEN_FDS=1000000", "LISTEN_FDNAMES=public"}, "", 0, "1 to 16"},
		{"fewer names", []string{"LISTEN_PID=40", "LISTEN_FDS=2", "LISTEN_FDNAMES=public"}, "", 0, "FileDescriptorName"},
		{"no names", []string{"LISTEN_PID=40", "LISTEN_FDS=1"}, "", 0, `a socket is called ""`},
		{"the unit's name", []string{"LISTEN_PID=40", "LISTEN_FDS=1", "LISTEN_FDNAMES=patchbay.socket"}, "", 0, `"patchbay.socket"; want public or admin`},
		{"twice", []string{"LISTEN_PID=40", "LISTEN_FDS=2", "LISTEN_FDNAMES=public:public"}, "", 0, `two sockets are called "public"`},
		{"a process before", []string{`PATCHBAY_HANDOVER={"from":30,"sockets":[{"name":"public","address":"127.0.0.1:8000"},{"name":"admin","address":""}]}`}, "public@3 admin@4", 5, ""},
		{"that had systemd's", []string{"LISTEN_PID=40", "LISTEN_FDS=9", `PATCHBAY_HANDOVER={"from":30,"sockets":[]}`}, "", 3, ""},
		{"that is gone", []string{`PATCHBAY_HANDOVER={"from":29,"sockets":[]}`}, "", 0, "from process 29"},
		{"no JSON", []string{`PATCHBAY_HANDOVER=1`}, "", 0, "unset it"},
		{"more than JSON", []string{`PATCHBAY_HANDOVER={"from":30} {}`}, "", 0, "unset it"},
		{"unknown keys", []string{`PATCHBAY_HANDOVER={"from":30,"fd":1}`}, "", 0, "unset it"},
		{"a foreign name", []string{`PATCHBAY_HANDOVER={"from":30,"sockets":[{"name":"x"}]}`}, "", 0, `called "x"`},
		{"a crowd", []string{`PATCHBAY_HANDOVER={"from":30,"sockets":[` + strings.Repeat(`{},`, 16) + `{}]}`}, "", 0, "at most 16"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := parse(c.environ, pid, ppid)
			if c.fault != "" {
				if err == nil || !strings.Contains(err.Error(), c.fault) {
					t.Errorf("got %+v, %v; want an error that says %q", p, err, c.fault)
				}
				return
			}
			if got := shown(p); err != nil || got != c.places || p.report != c.report {
				t.Errorf("got %q and %d, %v; want %q and %d", got, p.report, err, c.places, c.report)
			}
		})
	}
}

func shown(p plan) string {
	var all []string
	for _, at := range p.places {
		all = append(all, at.Name+"@"+string(rune('0'+at.fd)))
	}
	return strings.Join(all, " ")
}

// FuzzParse: whatever the environment holds, few descriptors are touched, none of them a standard stream.
func FuzzParse(f *testing.F) {
	f.Add(`{"from":30,"sockets":[{"name":"public","address":"127.0.0.1:8000"}]}`, "", "", "")
	f.Add(`{"from":30}`, "40", "1", "public")
	f.Add("", "40", "2", "admin:public")
	f.Add("", "40", "-2", "::")
	f.Fuzz(func(t *testing.T, note, pid, fds, names string) {
		p, err := parse([]string{variable + "=" + note, "LISTEN_PID=" + pid, "LISTEN_FDS=" + fds, "LISTEN_FDNAMES=" + names}, 40, 30)
		if err != nil {
			return
		}
		if len(p.places) > 2 {
			t.Errorf("%d sockets", len(p.places))
		}
		for i, at := range p.places {
			if at.fd != firstFD+i {
				t.Errorf("socket %d is descriptor %d", i, at.fd)
			}
		}
		if p.report != 0 && p.report != firstFD+len(p.places) {
			t.Errorf("the pipe is descriptor %d", p.report)
		}
	})
}

// What is no socket of ours must stay open: it is perhaps the runtime's.
func TestInheritLeavesForeignDescriptorsAlone(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := listener(place{Name: Public, fd: int(f.Fd())}); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("a file is taken for a socket: %v", err)
	}
	if _, err := f.WriteString("x"); err != nil {
		t.Errorf("the file was closed: %v", err)
	}
	if isPipe(int(f.Fd())) {
		t.Error("a file is taken for a pipe")
	}
}
