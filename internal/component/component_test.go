package component_test

import (
	"flag"
	"path/filepath"
	"testing"

	"github.com/lazuli-logs/lazuli/internal/component"
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/config/configtest"
)

var update = flag.Bool("update", false, "rewrite the generated pages")

// environment has what the examples refer to.
var environment = config.Environment{
	LookupEnv: func(name string) (string, bool) {
		value, ok := map[string]string{
			"EVENT_HUB":      "Endpoint=sb://contoso.servicebus.windows.net/;SharedAccessKeyName=lazuli;SharedAccessKey=aW52ZW50ZWQ=;EntityPath=insights-logs",
			"ACTIVITY_HUB":   "Endpoint=sb://contoso.servicebus.windows.net/;SharedAccessKeyName=lazuli;SharedAccessKey=aW52ZW50ZWQ=",
			"CONTOSO_SECRET": "invented", "REDACT_KEY": "invented", "KAFKA_PASSWORD": "invented",
			"STORAGE": "DefaultEndpointsProtocol=https;AccountName=contosologs;AccountKey=aW52ZW50ZWQ=;EndpointSuffix=core.windows.net",
		}[name]
		return value, ok
	},
	ReadFile: func(string) ([]byte, error) { return []byte("invented\n"), nil },
}

func TestReference(t *testing.T) {
	catalog := component.Catalog()
	configtest.Catalog(t, catalog, environment)
	configtest.Pages(t, catalog, filepath.Join("..", ".."), *update)
	for _, pattern := range []string{"../../examples/*.yaml", "../source/*/example.yaml"} {
		examples, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		configtest.Examples(t, catalog, environment, examples...)
	}
}
