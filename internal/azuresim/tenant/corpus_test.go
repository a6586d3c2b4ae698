package tenant

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestShapesAreThoseOfRealRecords compares the names of the members with real
// records of the same category: what no real record has, ours must not have.
func TestShapesAreThoseOfRealRecords(t *testing.T) {
	shared := os.Getenv("LAZULI_SHARED")
	if shared == "" {
		shared = filepath.Join("..", "..", "..", "..", "shared")
	}
	genuine := map[string]map[string]bool{}
	err := filepath.WalkDir(filepath.Join(shared, "corpus"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.Contains(path, "expected") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		collectShapes(genuine, text)
		return nil
	})
	if err != nil || len(genuine) == 0 {
		t.Skipf("no corpus of real records in %q (set LAZULI_SHARED): %v", shared, err)
	}
	// One schema, of which the corpus has reads above all.
	for _, category := range []string{"StorageWrite", "StorageDelete"} {
		genuine[category] = genuine["StorageRead"]
	}
	// Members that Microsoft documents and the corpus lacks.
	documented := map[string]bool{
		// Activity log schema (learn.microsoft.com/azure/azure-monitor/platform/activity-log-schema).
		"Administrative properties.eventDataId": true, "Policy properties.eventDataId": true,
		"Administrative properties.serviceRequestId": true, "Administrative properties.statusCode": true,
		// Failed sign-ins; nearly all in the corpus succeeded.
		"SignInLogs resultDescription": true, "NonInteractiveUserSignInLogs resultDescription": true, "ServicePrincipalSignInLogs resultDescription": true,
		"ServicePrincipalSignInLogs properties.servicePrincipalCredentialKeyId":      true, // table AADServicePrincipalSignInLogs
		"ServicePrincipalSignInLogs properties.servicePrincipalCredentialThumbprint": true,
		"StorageRead properties.etag": true, "StorageRead properties.responseBodySize": true, // table StorageBlobLogs
	}
	g := New(seed, Options{Now: noon, Flows: FlowCategories()})
	compared := map[string]bool{}
	reported := map[string]bool{}
	var line []byte
	for range 12_000 {
		var category string
		line, _, category = g.Next(line[:0])
		// Too few of these are in the corpus, or they are edited by hand.
		if genuine[category] == nil || category == "Security" || category == "ServiceHealth" || category == "AuditEvent" {
			continue
		}
		compared[category] = true
		ours := map[string]map[string]bool{}
		collectShapes(ours, line)
		for name := range ours[category] {
			if id := category + " " + name; !genuine[category][name] && !documented[id] && !reported[id] {
				reported[id] = true
				t.Errorf("%s: no real record has %q", category, name)
			}
		}
	}
	if len(compared) < 10 {
		t.Errorf("only %v could be compared", compared)
	}
}

// collectShapes adds the names of the members of all records in text, at the
// top and in "properties", by category.
func collectShapes(shapes map[string]map[string]bool, text []byte) {
	var wrapper struct{ Records []json.RawMessage }
	if json.Unmarshal(text, &wrapper) == nil && len(wrapper.Records) > 0 {
		for _, record := range wrapper.Records {
			var line bytes.Buffer
			if json.Compact(&line, record) == nil {
				collectShapes(shapes, line.Bytes())
			}
		}
		return
	}
	for line := range bytes.Lines(text) {
		var record map[string]json.RawMessage
		if json.Unmarshal(line, &record) != nil {
			continue // not a record: the corpus holds many other things
		}
		var category string
		if json.Unmarshal(record["category"], &category) != nil {
			continue
		}
		if shapes[category] == nil {
			shapes[category] = map[string]bool{}
		}
		for name := range record {
			shapes[category][name] = true
		}
		var properties map[string]json.RawMessage
		if json.Unmarshal(record["properties"], &properties) == nil {
			for name := range properties {
				shapes[category]["properties."+name] = true
			}
		}
	}
}
