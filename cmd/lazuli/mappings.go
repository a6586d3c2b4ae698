package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/normalize"
)

// readMappings reads the user's mapping files and compiles them for each schema,
// so that a mistake in one is found before anything starts.
func readMappings[P ~string](paths []P, schemas ...string) ([]normalize.File, error) {
	files := make([]normalize.File, 0, len(paths))
	for _, p := range paths {
		data, err := os.ReadFile(string(p))
		if err != nil {
			return nil, &usageError{fmt.Errorf("lazuli: read a mapping file: %w", err)}
		}
		files = append(files, normalize.File{Name: filepath.Base(string(p)), Data: data})
	}
	for _, schema := range schemas {
		options := normalize.DefaultOptions()
		options.Files = files
		if _, err := normalize.Compile(normalize.Schema(schema), options); err != nil {
			return nil, &usageError{err}
		}
	}
	return files, nil
}

func schemasOf(routes []config.Route) (schemas []string) {
	for _, r := range routes {
		schemas = append(schemas, r.Schema)
	}
	return schemas
}
