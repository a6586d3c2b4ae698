package normalize

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lazuli-logs/lazuli/internal/decode"
)

// TestCorpus makes events of every file of the shared corpus of public samples
// ($LAZULI_SHARED/corpus), in every schema: one for each record, with the same
// log type and id. It is skipped where the corpus is not at hand.
func TestCorpus(t *testing.T) {
	shared := os.Getenv("LAZULI_SHARED")
	if shared == "" {
		shared = filepath.Join("..", "..", "..", "shared")
	}
	root := filepath.Join(shared, "corpus")
	if _, err := os.Stat(root); err != nil {
		t.Skipf("no corpus: %v", err)
	}
	workers := map[Schema]*Worker{}
	for _, schema := range []Schema{Raw, ECS, OCSF} {
		workers[schema] = compile(t, schema, DefaultOptions()).Worker()
	}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(path, "-expected.json") {
			return err
		}
		payload, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var d decode.Decoder
		types := map[string]int{}
		bad := 0
		d.Decode(payload, func(r *decode.Record) {
			in := Input{Index: r.Index, Node: r.Node, Raw: r.Raw, Number: r.Number}
			_, want := workers[Raw].Append(nil, in)
			types[want.LogType]++
			for _, schema := range []Schema{ECS, OCSF} {
				out, got := workers[schema].Append(nil, in)
				checkEvent(t, out, got)
				if got.ID != want.ID || got.LogType != want.LogType || !got.Time.Equal(want.Time) {
					t.Errorf("%s, record %d: %s gives %+v, raw %+v", path, r.Number, schema, got, want)
				}
			}
		}, func(decode.Bad) { bad++ })
		var found []string
		for _, name := range slices.Sorted(maps.Keys(types)) {
			found = append(found, fmt.Sprintf("%s %d", name, types[name]))
		}
		name, _ := filepath.Rel(root, path)
		t.Logf("%-70s dead letters %d, %s", name, bad, strings.Join(found, ", "))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
