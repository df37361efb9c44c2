package config_test

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/patchbay-run/patchbay/host/internal/config"
)

const configs = "../../../configs/"

// configs/host.yaml says that it shows the defaults.
func TestHostYAMLIsTheDefault(t *testing.T) {
	c, err := config.Load(config.Options{File: configs + "host.yaml"})
	if err != nil {
		t.Fatal(err)
	}
	if want := config.Default(); !reflect.DeepEqual(c, want) {
		t.Errorf("host.yaml loads as\n%+v\nwant\n%+v", c, want)
	}
}

// uncommented returns host.yaml with its examples put to use. An example is a line whose # is
// followed by indented YAML; prose has one space.
func uncommented(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(configs + "host.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`(?m)^#(  )`).ReplaceAllString(string(text), "$1")
}

// The examples of host.yaml load as they are printed, and what they mark as a default is one.
func TestHostYAMLExamples(t *testing.T) {
	text := uncommented(t)
	c := load(t, text)

	u := c.Upstreams["gpustack"]
	wantUpstream := config.DefaultUpstream()
	wantUpstream.Endpoints, wantUpstream.Auth = u.Endpoints, config.Auth{Secret: "gpustack", As: "bearer"}
	if !reflect.DeepEqual(u, wantUpstream) {
		t.Errorf("the example of an upstream is %+v\nwant %+v", u, wantUpstream)
	}
	if len(c.Plugins) != 1 {
		t.Fatalf("want one example of a plugin, got %d", len(c.Plugins))
	}
	p, wantPlugin := c.Plugins[0], config.DefaultPlugin()
	wantPlugin.Name, wantPlugin.Source, wantPlugin.Routes = p.Name, p.Source, p.Routes
	wantPlugin.Config, wantPlugin.Grant.Fetch, wantPlugin.Grant.Publish = p.Config, p.Grant.Fetch, []config.Publish{{Topic: "progress"}}
	if !reflect.DeepEqual(p, wantPlugin) {
		t.Errorf("the example of a plugin is %+v\nwant %+v", p, wantPlugin)
	}

	// A line marked as a default can be left out.
	marked := regexp.MustCompile(`(?m)^.*# default.*\n`)
	if n := len(marked.FindAllString(text, -1)); n < 10 {
		t.Fatalf("only %d lines are marked as a default", n)
	}
	if without := load(t, marked.ReplaceAllString(text, "")); !reflect.DeepEqual(without, c) {
		t.Errorf("without the lines marked as a default:\n%+v\nwant\n%+v", without, c)
	}
}

// Every key of the types stands in host.yaml, in its section, with a comment beside or above it.
func TestHostYAMLShowsEverySetting(t *testing.T) {
	var document yaml.Node
	if err := yaml.Unmarshal([]byte(uncommented(t)), &document); err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	collect(document.Content[0], "", shown)
	for _, want := range keys(reflect.TypeFor[config.Config](), "") {
		if !shown[want] {
			t.Errorf("host.yaml does not show %s", want)
		}
	}
}

// collect notes the paths of a document. Entries of lists and of named sections are all alike.
func collect(n *yaml.Node, at string, paths map[string]bool) {
	paths[at] = true
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i < len(n.Content); i += 2 {
			key := n.Content[i].Value
			if at == ".upstreams" || at == ".secrets" {
				key = "*"
			}
			collect(n.Content[i+1], at+"."+key, paths)
		}
	case yaml.SequenceNode:
		for _, item := range n.Content {
			collect(item, at+".*", paths)
		}
	}
}

// keys lists the paths of a type in the same notation.
func keys(t reflect.Type, at string) []string {
	all := []string{at}
	switch {
	case t.Kind() == reflect.Struct:
		for i := range t.NumField() {
			all = append(all, keys(t.Field(i).Type, at+"."+t.Field(i).Tag.Get("yaml"))...)
		}
	case t.Kind() == reflect.Map && t.Elem().Kind() == reflect.Struct, t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		all = append(all, keys(t.Elem(), at+".*")...)
	}
	return all
}

// The two configurations that we ship need no variable.
func TestShippedConfigsLoad(t *testing.T) {
	for _, name := range []string{"dev.yaml", "container.yaml"} {
		c, err := config.Load(config.Options{File: configs + name})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := c.Upstreams["gpustack"].Endpoints; !reflect.DeepEqual(got, []config.Endpoint{{URL: "demo:gpustack", Weight: 1}}) {
			t.Errorf("%s: GPUStack is %v", name, got)
		}
		if got := c.Plugins[0].Config["summary"]; !reflect.DeepEqual(got, map[string]any{"model": "", "endpoint": "upstream://gpustack"}) {
			t.Errorf("%s: the summary is %v", name, got)
		}
	}
}

// With the variables that the README names, the real services are asked; plain http is allowed.
func TestShippedConfigsTakeTheEnvironment(t *testing.T) {
	for _, name := range []string{"dev.yaml", "container.yaml"} {
		c, err := config.Load(config.Options{File: configs + name, Environ: []string{
			"GPUSTACK_API_URL=http://10.0.0.5/v1/chat/completions", "GPUSTACK_API_KEY=k", "TAVILY_API_KEY=t", "SUMMARY_MODEL=qwen3",
		}})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := c.Upstreams["gpustack"].Endpoints[0].URL; got != "http://10.0.0.5/v1/chat/completions" {
			t.Errorf("%s: GPUStack is %v", name, got)
		}
		if got := c.Plugins[0].Config["summary"].(map[string]any)["model"]; got != "qwen3" {
			t.Errorf("%s: the summary's model is %v", name, got)
		}
	}
}

// dev.yaml and container.yaml differ in the listeners, the delay of a stop, the cache folder and the plugins' folder.
func TestDevAndContainerAgree(t *testing.T) {
	dev, err := config.Load(config.Options{File: configs + "dev.yaml"})
	if err != nil {
		t.Fatal(err)
	}
	container, err := config.Load(config.Options{File: configs + "container.yaml"})
	if err != nil {
		t.Fatal(err)
	}
	if container.Server.Listen != "0.0.0.0:8000" || container.Admin.Listen != "127.0.0.1:8001" || container.CacheDir != "/var/cache/patchbay" {
		t.Errorf("container.yaml listens on %s and %s, and caches in %q", container.Server.Listen, container.Admin.Listen, container.CacheDir)
	}
	container.Server.StopDelay = dev.Server.StopDelay
	container.Server.Listen, container.Admin.Listen, container.CacheDir = dev.Server.Listen, dev.Admin.Listen, dev.CacheDir
	for i := range container.Plugins {
		source, ok := strings.CutPrefix(container.Plugins[i].Source, "/app/")
		if !ok {
			t.Errorf("container.yaml takes %s from %s", container.Plugins[i].Name, container.Plugins[i].Source)
		}
		container.Plugins[i].Source = source
	}
	if !reflect.DeepEqual(dev, container) {
		t.Errorf("they differ:\ndev       %+v\ncontainer %+v", dev, container)
	}
}
