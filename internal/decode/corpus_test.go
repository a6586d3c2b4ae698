package decode

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCorpus reads every file of the shared corpus of public samples
// ($LAZULI_SHARED/corpus). It is skipped where that is not at hand.
func TestCorpus(t *testing.T) {
	shared := os.Getenv("LAZULI_SHARED")
	if shared == "" {
		shared = filepath.Join("..", "..", "..", "shared")
	}
	root := filepath.Join(shared, "corpus")
	if _, err := os.Stat(root); err != nil {
		t.Skipf("no corpus: %v", err)
	}
	t.Logf("%8s %8s %6s  %-20s %s", "bytes", "records", "bad", "repairs", "file")
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		payload, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, path)
		records, bads := checkCoverage(t, payload)
		var repairs Repair
		var d Decoder
		parts := 0 // records that came of the same record as the one before
		before := -1
		d.Decode(payload, func(r *Record) {
			repairs |= r.Repairs
			if r.Tuples > 0 && r.Offset == before {
				parts++
			}
			before = r.Offset
		}, func(Bad) {})
		t.Logf("%8d %8d %6d  %-20s %s", len(payload), records, bads, repairs, name)
		if records+bads == 0 && len(bytes.TrimSpace(payload)) > 0 && !emptyWrapper(payload) {
			t.Errorf("%s: nothing came out", name)
		}
		if want := countObjects(payload); want >= 0 && (records-parts != want || bads > 0 || repairs != 0) {
			t.Errorf("%s is JSON with %d records: got %d, %d bad, repairs %q", name, want, records-parts, bads, repairs)
		}
		if tuples := countTuples(payload); tuples > 0 && records != tuples {
			t.Errorf("%s holds %d flow tuples: got %d records", name, tuples, records)
		}
		if strings.HasSuffix(name, "function_app_logs.txt") && (records != bytes.Count(payload, []byte("\n")) || bads > 0 || repairs != SingleQuotes) {
			t.Errorf("%s: got %d records, %d bad, repairs %q, want one record a line with single quotes", name, records, bads, repairs)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// countTuples returns how many flow tuples a payload holds that is one JSON value
// and has flow tuples in each of its records.
func countTuples(payload []byte) int {
	var v any
	if !bytes.Contains(payload, []byte("flowTuples")) || json.Unmarshal(payload, &v) != nil {
		return 0
	}
	return len(tuplesByOracle(v))
}

func emptyWrapper(payload []byte) bool { return countObjects(payload) == 0 }

// countObjects returns how many records a payload holds that is JSON, or JSON
// values in a row, by the standard library's account, or -1 if it is not.
func countObjects(payload []byte) int {
	in := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(payload, []byte(bom))))
	n := 0
	for in.More() {
		var v json.RawMessage
		if in.Decode(&v) != nil {
			return -1
		}
		var wrapper struct {
			Records []json.RawMessage `json:"records"`
		}
		var elements []json.RawMessage
		switch {
		case v[0] == '[' && json.Unmarshal(v, &elements) == nil:
			n += len(elements)
		case v[0] == '{' && json.Unmarshal(v, &wrapper) == nil && wrapper.Records != nil:
			n += len(wrapper.Records)
		case v[0] == '{':
			n++
		default:
			return -1
		}
	}
	return n
}
