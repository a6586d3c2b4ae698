package graph

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	sim "github.com/lazuli-logs/lazuli/internal/azuresim/graph"
	"github.com/lazuli-logs/lazuli/internal/source/window"
)

// corpusPage is an answer of Graph out of the corpus, or objects in the form of
// Graph's that are in it, put into one.
func corpusPage(t *testing.T, file string) (objects []json.RawMessage) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var page struct {
		Value []json.RawMessage `json:"value"`
	}
	if json.Unmarshal(text, &page) == nil {
		return page.Value
	}
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if idOf(line) != "" {
			objects = append(objects, line)
		}
	}
	return objects
}

// idOf returns the member "id", in exactly this form, of an object.
func idOf(object []byte) string {
	var members map[string]json.RawMessage
	_ = json.Unmarshal(object, &members) // what is no object has none
	return string(members["id"])
}

// TestCorpusIsReadWithoutLoss serves what others have published of Graph's
// answers in pages of two, byte for byte, and holds what is read against it.
func TestCorpusIsReadWithoutLoss(t *testing.T) {
	shared := os.Getenv("LAZULI_SHARED")
	if shared == "" {
		shared = filepath.Join("..", "..", "..", "..", "shared")
	}
	read := 0
	for _, folder := range []string{"wazuh/graph_api", "panther", "otrf", "msticpy"} {
		_ = filepath.WalkDir(filepath.Join(shared, "corpus", folder), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || strings.Contains(path, "expected") || !strings.Contains(path, "json") {
				return err
			}
			objects := corpusPage(t, path)
			if len(objects) == 0 && !strings.Contains(path, "graph_api") {
				return nil
			}
			read++
			t.Run(strings.TrimPrefix(path, shared), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { readCorpus(t, objects) })
			})
			return nil
		})
	}
	if read == 0 {
		t.Skipf("no corpus of real records in %q (set LAZULI_SHARED)", shared)
	}
}

func readCorpus(t *testing.T, objects []json.RawMessage) {
	b := newBench(t, sim.Options{})
	b.wire.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var from int
		_, _ = fmt.Sscan(r.URL.Query().Get("$skiptoken"), &from) // 0 on the first page
		end := min(from+2, len(objects))
		fmt.Fprint(w, `{"@odata.context":"c", "value": [`)
		for i, o := range objects[from:end] {
			if i > 0 {
				fmt.Fprint(w, ", ")
			}
			_, _ = w.Write(o)
		}
		fmt.Fprint(w, "]")
		if end < len(objects) {
			fmt.Fprintf(w, `, "@odata.nextLink": "https://graph.microsoft.com/v1.0/x?$skiptoken=%d"`, end)
		}
		fmt.Fprint(w, "}")
	})
	// One window for all, since these answers do not depend on the question.
	span := window.Span{From: time.Date(2015, 1, 1, 0, 0, 0, 0, time.UTC), To: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC), Parts: 1}
	s := b.source(nil, "directory_audits")
	r := &reader{s: s, feed: s.feeds[0]}
	var got []string
	seen := map[window.Identity]bool{}
	if _, err := r.fetch(t.Context(), span, func(row window.Row) error {
		if !seen[row.ID] {
			got = append(got, string(row.Payload.Body))
		}
		seen[row.ID] = true
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	var want []string
	known := map[string]bool{}
	for _, o := range objects {
		// Two objects with one id are one: the corpus has ids that were blanked.
		id := idOf(o)
		if !known[id] {
			want = append(want, string(o))
		}
		known[id] = true
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("read\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
