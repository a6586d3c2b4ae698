package storage

import (
	"flag"
	"testing"

	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/config/configtest"
)

var update = flag.Bool("update", false, "write the option table of README.md")

// sinkStub stands in for any sink: this package knows none.
type sinkStub struct{}

func (*sinkStub) Validate(*config.Report) {}

func TestReadmeAndExample(t *testing.T) {
	settings := func() config.Component { c := DefaultConfig(); return &c }
	configtest.Page(t, "README.md", config.OptionTable(settings()), *update)
	configtest.Examples(t, config.Catalog{
		Sources: config.Kinds{"storage": settings},
		Sinks:   config.Kinds{"stdout": func() config.Component { return &sinkStub{} }},
	}, config.Environment{
		LookupEnv: func(string) (string, bool) {
			return "DefaultEndpointsProtocol=https;AccountName=contosologs;AccountKey=aW52ZW50ZWQ=;EndpointSuffix=core.windows.net", true
		},
		ReadFile: func(string) ([]byte, error) { return []byte("an~invented~secret\n"), nil },
	}, "example.yaml")
}
