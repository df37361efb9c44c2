package app

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// quiet is how long files must lie still before they are looked at: a build writes a file in many steps.
const quiet = 300 * time.Millisecond

// longest is how long a folder that is never quiet, with a log in it for example, can put that off.
const longest = 2 * time.Second

// watcher notices that something happened near the files that the server was made from. What happened does not matter:
// the reload looks at what is there.
type watcher struct {
	app    *App
	notify *fsnotify.Watcher
	known  map[string]bool // folders under watch

	watches bool        // false: the system had no watch for us
	log     os.FileInfo // of the file that standard error is; nil: it is none
}

// watchFiles begins to watch. Without a place among the system's watches the server goes on, and waits for SIGHUP.
func (a *App) watchFiles() *watcher {
	w := &watcher{app: a, known: map[string]bool{}}
	var err error
	if w.notify, err = fsnotify.NewWatcher(); err != nil {
		a.log.Warn("files are not watched; send SIGHUP after a change", "error", err)
		w.notify = &fsnotify.Watcher{} // its channels are nil: nothing ever comes
	}
	w.watches = err == nil
	if info, err := os.Stderr.Stat(); err == nil && info.Mode().IsRegular() {
		w.log = info
	}
	w.follow()
	return w
}

// follow watches the folders of the files in force: a folder goes on where a file is replaced.
func (w *watcher) follow() {
	if !w.watches {
		return
	}
	want := map[string]bool{}
	for _, path := range w.app.files() {
		want[filepath.Dir(path)] = true
		if target, err := filepath.EvalSymlinks(path); err == nil {
			want[filepath.Dir(target)] = true
		}
	}
	for dir := range want {
		if !w.known[dir] {
			if err := w.notify.Add(dir); err != nil {
				w.app.log.Warn("a folder cannot be watched; send SIGHUP after a change in it", "folder", dir, "error", err)
				delete(want, dir)
			}
		}
	}
	for dir := range w.known {
		if !want[dir] {
			_ = w.notify.Remove(dir)
		}
	}
	w.known = want
}

// files are those whose change matters.
func (a *App) files() []string {
	c := a.state.Load().config
	var paths []string
	if a.options.Config.File != "" {
		paths = append(paths, a.options.Config.File)
	}
	if c.Auth.KeysFile != "" {
		paths = append(paths, c.Auth.KeysFile)
	}
	for _, p := range c.Plugins {
		paths = append(paths, p.Source)
	}
	for _, u := range c.Upstreams {
		if u.TLS.CA != "" {
			paths = append(paths, u.TLS.CA)
		}
	}
	for _, s := range c.Secrets {
		if s.File != "" {
			paths = append(paths, s.File)
		}
	}
	return paths
}

// run reloads after changes and signals until ctx ends.
func (w *watcher) run(ctx context.Context, signals <-chan os.Signal, reload func(context.Context) error) error {
	settled := time.NewTimer(0) // a first look: something may have changed between New and the watch
	var since time.Time         // the first change that was not looked at; zero is none
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-w.notify.Events:
			if !ok {
				return nil
			}
			if e.Op != fsnotify.Chmod && !w.isLog(e) {
				if since.IsZero() {
					since = time.Now()
				}
				settled.Reset(min(quiet, longest-time.Since(since)))
			}
		case err := <-w.notify.Errors:
			// An overflow means that events were lost, so something changed.
			w.app.log.Warn("watch files", "error", err)
			settled.Reset(quiet)
		case <-signals:
			settled.Reset(0)
		case <-settled.C:
			since = time.Time{}
			if err := reload(ctx); err != nil && ctx.Err() == nil {
				w.app.log.Error("reload", "error", err)
			}
			w.follow()
		}
	}
}

// isLog says whether it is only the server's own log that grew, beside a file under watch. A look at a broken file logs a line: that line
// must not be the reason for the next look.
func (w *watcher) isLog(e fsnotify.Event) bool {
	if w.log == nil || e.Op != fsnotify.Write {
		return false
	}
	info, err := os.Stat(e.Name)
	return err == nil && os.SameFile(info, w.log)
}

func (w *watcher) close() {
	if w.watches {
		_ = w.notify.Close()
	}
}
