package app

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// quiet is how long files must lie still before they are looked at: a build writes a file in many steps.
const quiet = 300 * time.Millisecond

// watcher notices that something happened near the files that the server was made from. What happened does not matter:
// the reload looks at what is there.
type watcher struct {
	app    *App
	notify *fsnotify.Watcher
	known  map[string]bool // folders under watch
}

func (a *App) watchFiles() (*watcher, error) {
	n, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch the configuration: %w", err)
	}
	w := &watcher{app: a, notify: n, known: map[string]bool{}}
	w.follow()
	return w, nil
}

// follow watches the folders of the files in force: a folder goes on where a file is replaced.
func (w *watcher) follow() {
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
	for _, p := range c.Plugins {
		paths = append(paths, p.Source)
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
	settled := time.NewTimer(0)
	<-settled.C
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-w.notify.Events:
			if !ok {
				return nil
			}
			if e.Op != fsnotify.Chmod {
				settled.Reset(quiet)
			}
		case err := <-w.notify.Errors:
			// An overflow means that events were lost, so something changed.
			w.app.log.Warn("watch files", "error", err)
			settled.Reset(quiet)
		case <-signals:
			settled.Reset(0)
		case <-settled.C:
			if err := reload(ctx); err != nil && ctx.Err() == nil {
				w.app.log.Error("reload", "error", err)
			}
			w.follow()
		}
	}
}

func (w *watcher) close() { _ = w.notify.Close() }
