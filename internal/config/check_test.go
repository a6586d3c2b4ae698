package config

import (
	"strings"
	"testing"
)

type sloppySink struct {
	Type     string   `yaml:"type" doc:"Taken."`
	Batch    int      `yaml:"batch" doc:"Taken as well."`
	NoDoc    string   `yaml:"no_doc"`
	CamelDoc string   `yaml:"camelCase" doc:"Named badly."`
	APIKey   string   `yaml:"api_key" doc:"Shown in logs."`
	Level    string   `yaml:"level" enum:"a|b" doc:"A default that is not allowed."`
	Count    int      `yaml:"count" min:"5" doc:"A default below the bound."`
	Wait     Duration `yaml:"wait" max:"soon" doc:"No bound."`
	Nested   struct {
		Deep string `yaml:"deep"`
	} `yaml:"nested" doc:"A table."`
}

func (*sloppySink) Validate(*Report) {}

func TestCheckFindsMistakesOfComponents(t *testing.T) {
	if err := FakeCatalog().Check(); err != nil {
		t.Errorf("Check of sound components = %v", err)
	}
	err := Catalog{Sinks: Kinds{"Sloppy": func() Component { return &sloppySink{Level: "c", Count: 4} }}}.Check()
	want := []string{
		"sinks.Sloppy: the kind must be lower_snake",
		"sinks.Sloppy.type: the name is taken",
		"sinks.Sloppy.batch: the name is taken",
		`sinks.Sloppy.no_doc: the doc tag must be a sentence, it is ""`,
		"sinks.Sloppy.camelCase: the name must be lower_snake",
		"sinks.Sloppy.api_key: it is named like a secret and must be a Secret",
		"sinks.Sloppy.level: the default c is not in the enum",
		"sinks.Sloppy.count: the default 4 is out of its bounds",
		`sinks.Sloppy.wait: "soon" is no bound of config.Duration`,
		`sinks.Sloppy.nested.deep: the doc tag must be a sentence, it is ""`,
	}
	if err == nil {
		t.Fatal("Check found nothing")
	}
	got := strings.Split(err.Error(), "\n")
	for _, w := range want {
		found := false
		for _, g := range got {
			found = found || g == w
		}
		if !found {
			t.Errorf("Check did not say %q; it said:\n%s", w, err)
		}
	}
	if len(got) != len(want) {
		t.Errorf("Check said %d things, want %d:\n%s", len(got), len(want), err)
	}
}
