package config_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/config/configtest"
)

func TestSchemaAgreesWithLoad(t *testing.T) {
	catalog := config.FakeCatalog()
	t.Run("example", func(t *testing.T) {
		if err := configtest.Validate(t, catalog, config.Example(catalog)); err != nil {
			t.Error(err)
		}
	})
	for _, tc := range []struct {
		pattern string
		refused bool
	}{
		{pattern: "testdata/*.good.yaml"},
		{pattern: "testdata/*.warn.yaml"},
		{pattern: "testdata/unknown-*.bad.yaml", refused: true},
		{pattern: "testdata/required-*.bad.yaml", refused: true},
		{pattern: "testdata/wrong-type-*.bad.yaml", refused: true},
		{pattern: "testdata/enum*.bad.yaml", refused: true},
		{pattern: "testdata/name*.bad.yaml", refused: true},
		{pattern: "testdata/no-*.bad.yaml", refused: true},
		{pattern: "testdata/*-for-a-*.bad.yaml", refused: true},
		{pattern: "testdata/empty-list.bad.yaml", refused: true},
		{pattern: "testdata/duration.bad.yaml", refused: true},
		{pattern: "testdata/size.bad.yaml", refused: true},
		{pattern: "testdata/range-low.bad.yaml", refused: true},
		{pattern: "testdata/range-high.bad.yaml", refused: true},
		{pattern: "testdata/route-schema.bad.yaml", refused: true},
	} {
		files, err := filepath.Glob(tc.pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, error %v", tc.pattern, len(files), err)
		}
		for _, file := range files {
			t.Run(filepath.Base(file), func(t *testing.T) {
				src, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if err := configtest.Validate(t, catalog, src); (err != nil) != tc.refused {
					t.Errorf("the schema says %v, want refused = %v", err, tc.refused)
				}
			})
		}
	}
}
