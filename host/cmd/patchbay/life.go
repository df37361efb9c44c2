package main

import (
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/patchbay-run/patchbay/host/internal/handover"
)

// signals are those that a server answers to.
type signals struct {
	reload chan os.Signal // SIGHUP
	again  chan os.Signal // a second SIGINT or SIGTERM; the first ends the context
	usr2   chan os.Signal // SIGUSR2
	stop   chan os.Signal
	pipe   chan os.Signal // SIGPIPE, which nobody takes
	done   chan struct{}
}

// listen begins to take signals, so that none that comes while plugins are loaded ends the process.
func listen() *signals {
	s := &signals{
		reload: make(chan os.Signal, 1), again: make(chan os.Signal, 1), usr2: make(chan os.Signal, 1),
		stop: make(chan os.Signal, 2), pipe: make(chan os.Signal, 1), done: make(chan struct{}),
	}
	// Else the runtime ends a process whose standard error nobody reads any more, as when the reader of its log is started again.
	signal.Notify(s.pipe, syscall.SIGPIPE)
	signal.Notify(s.reload, syscall.SIGHUP)
	signal.Notify(s.stop, os.Interrupt, syscall.SIGTERM)
	signal.Notify(s.usr2, syscall.SIGUSR2)
	go func() {
		for n := 0; ; n++ {
			select {
			case sig := <-s.stop:
				if n == 1 {
					s.again <- sig
					return
				}
			case <-s.done:
				return
			}
		}
	}()
	return s
}

func (s *signals) close() {
	for _, c := range []chan os.Signal{s.reload, s.stop, s.usr2, s.pipe} {
		signal.Stop(c)
	}
	close(s.done)
}

// replace is SIGUSR2, except in a container: it ends with its first process, so a new one would end with the old.
func (s *signals) replace(log *slog.Logger) <-chan os.Signal {
	if os.Getpid() != 1 {
		return s.usr2
	}
	go func() {
		for {
			select {
			case <-s.usr2:
				log.Warn("SIGUSR2 replaces nothing here: this is process 1, and a container ends with it; replace the container")
			case <-s.done:
				return
			}
		}
	}()
	return nil
}

// life tells whoever started the process how it does.
type life struct {
	sockets  *handover.Sockets
	notifier handover.Notifier
	pidFile  string
	log      *slog.Logger
	remove   func() // the pid file
}

// serving is called once requests are answered, and again after a process that was to go on has not.
func (l *life) serving() {
	for _, name := range l.sockets.Handed() {
		l.log.Info("a socket that was handed over is not used: the configuration has another address", "socket", name)
	}
	if l.pidFile != "" {
		remove, err := handover.WritePID(l.pidFile)
		if err != nil {
			l.log.Error("who sends signals will not find this process", "error", err)
		}
		l.remove = remove
	}
	if l.sockets.Replaces() {
		l.sockets.Ready() // the old one tells systemd: nobody else would be believed
		return
	}
	l.sockets.Close()
	l.told(l.notifier.Send("READY=1"))
}

// stopping is called when the end begins; successor is who goes on, or 0.
func (l *life) stopping(successor int) {
	if successor == 0 {
		l.told(l.notifier.Send("STOPPING=1"))
		return
	}
	l.told(l.notifier.SendLast(fmt.Sprintf("MAINPID=%d", successor)))
}

func (l *life) told(err error) {
	if err != nil {
		l.log.Warn("systemd does not know", "error", err)
	}
}

func (l *life) close() {
	if l.remove != nil {
		l.remove()
	}
}
