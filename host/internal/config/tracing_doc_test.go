package config_test

import (
	"os"
	"regexp"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/config"
)

// The examples of docs/tracing.md load, and each of them turns traces on.
func TestTracingExamples(t *testing.T) {
	text, err := os.ReadFile("../../../docs/tracing.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(text, -1)
	if len(examples) < 4 {
		t.Fatalf("there are %d examples", len(examples))
	}
	for _, example := range examples {
		c := load(t, string(example[1]), "DD_OTLP_ENDPOINT=https://otlp.example.com/v1/traces", "DD_API_KEY=a", "DD_OTLP_SOURCE=b", "NEW_RELIC_LICENSE_KEY=c")
		if c.Traces.Endpoint == "" || c.Traces.ServiceName != config.Default().Traces.ServiceName {
			t.Errorf("%s loads as %+v", example[1], c.Traces)
		}
	}
}
