package handover

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

const (
	// variable tells a new process what it was handed by the one before. systemd's own variables would not do: they name the
	// process they are for, whose number nobody knows before it runs.
	variable = "PATCHBAY_HANDOVER"
	// firstFD is where handed file descriptors begin (SD_LISTEN_FDS_START of sd_listen_fds(3)).
	firstFD = 3
	// maxSockets bounds how many are looked at; there are names for two.
	maxSockets = 16
)

// plan is what a process was handed.
type plan struct {
	places []place
	report int // the file descriptor of the pipe to the process that waits; 0 is none
}

// place is a handed socket.
type place struct {
	Name    string `json:"name"`
	Address string `json:"address"` // what it was opened for; "" fits every address
	fd      int
}

// note is the value of variable. The sockets come from firstFD on, and the pipe after them.
type note struct {
	From    int     `json:"from"` // the process that hands over
	Sockets []place `json:"sockets"`
}

// parse reads what the environment says to the process pid, a child of ppid. What is meant for another process is no plan.
func parse(environ []string, pid, ppid int) (plan, error) {
	get := func(name string) (value string) {
		for _, entry := range environ {
			if v, ok := strings.CutPrefix(entry, name+"="); ok {
				value = v
			}
		}
		return value
	}
	if text := get(variable); text != "" {
		return parseNote(text, ppid)
	}
	if get("LISTEN_PID") == "" || get("LISTEN_FDS") == "" {
		return plan{}, nil
	}
	if get("LISTEN_PID") != strconv.Itoa(pid) {
		return plan{}, nil // another process's, of which we are perhaps a child
	}
	return parseSystemd(get("LISTEN_FDS"), get("LISTEN_FDNAMES"))
}

// parseSystemd reads what sd_listen_fds_with_names(3) does.
func parseSystemd(fds, names string) (plan, error) {
	n, err := strconv.Atoi(fds)
	if err != nil || n < 1 || n > maxSockets {
		return plan{}, fmt.Errorf("LISTEN_FDS is %.20q; want how many sockets there are, 1 to %d", fds, maxSockets)
	}
	var p plan
	for i, name := range strings.Split(names, ":") {
		p.places = append(p.places, place{Name: name, fd: firstFD + i})
	}
	if len(p.places) != n {
		return plan{}, fmt.Errorf("LISTEN_FDNAMES is %.200q, and there are %d sockets: give each socket unit a FileDescriptorName", names, n)
	}
	return p, p.check()
}

// parseNote reads what Replace wrote.
func parseNote(text string, ppid int) (plan, error) {
	var n note
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&n); err != nil || d.More() {
		return plan{}, fmt.Errorf("%s is not what a patchbay process writes: unset it", variable)
	}
	if n.From != ppid {
		return plan{}, fmt.Errorf("%s is from process %d, and this is a child of %d: that process has ended, or a script in between does not exec this one, or the variable was left over", variable, n.From, ppid)
	}
	if len(n.Sockets) > maxSockets {
		return plan{}, fmt.Errorf("%s has %d sockets, at most %d are taken", variable, len(n.Sockets), maxSockets)
	}
	p := plan{places: n.Sockets, report: firstFD + len(n.Sockets)}
	for i := range p.places {
		p.places[i].fd = firstFD + i
	}
	return p, p.check()
}

// The names of sockets, as FileDescriptorName= of a systemd socket unit has them.
const (
	Public = "public"
	Admin  = "admin"
)

func (p plan) check() error {
	var errs []error
	var seen []string
	for _, at := range p.places {
		switch {
		case at.Name != Public && at.Name != Admin:
			errs = append(errs, fmt.Errorf("a socket is called %.100q; want %s or %s (FileDescriptorName= of the socket unit)", at.Name, Public, Admin))
		case slices.Contains(seen, at.Name):
			errs = append(errs, fmt.Errorf("two sockets are called %q; one can be used", at.Name))
		}
		seen = append(seen, at.Name)
	}
	return errors.Join(errs...)
}
