package eventhubs

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func openBroker(t *testing.T, o Options) *Broker {
	t.Helper()
	b, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// diskEvents returns everything in a partition.
func diskEvents(t *testing.T, h *Hub, partition int) []Event {
	t.Helper()
	events, err := h.Read(partition, 0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

func segmentFiles(t *testing.T, dir string, partition string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, testHub, partition, "*"+segmentSuffix))
	if err != nil || len(files) == 0 {
		t.Fatalf("segment files: %v, %v", files, err)
	}
	return files
}

func TestHubsSurviveARestart(t *testing.T) {
	o := testOptions()
	o.DataDir = filepath.Join(t.TempDir(), "data")
	b := openBroker(t, o)
	want := HubOptions{ConsumerGroups: []string{"siem"}, RetainEvents: 20_000, RetainAge: time.Hour, FirstSequence: 100}
	h, err := b.CreateHub("Logs", 2, want)
	if err != nil {
		t.Fatal(err)
	}
	fill(t, h, 0, 3*maxSegmentEvents) // several segments, the first of them dropped
	if _, err := h.AppendMessage(1, Message{Body: []byte("b"), PartitionKey: "k", Properties: map[string]any{"a": "b"}}); err != nil {
		t.Fatal(err)
	}
	before := [][]Event{diskEvents(t, h, 0), diskEvents(t, h, 1)}
	if len(before[0]) != want.RetainEvents || before[0][0].Sequence != 100+3*maxSegmentEvents-20_000 {
		t.Fatalf("before: %d events from sequence %d", len(before[0]), before[0][0].Sequence)
	}
	if files := segmentFiles(t, o.DataDir, "0"); len(files) != 3 {
		t.Errorf("%d segment files, want 3", len(files))
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Append(0, []byte("late")); err == nil {
		t.Error("a closed broker took an event")
	}

	b = openBroker(t, o)
	h, ok := b.Hub("LOGS")
	if !ok || h.Name() != "Logs" || h.Partitions() != 2 {
		t.Fatalf("the hub is gone: %v", b.Hubs())
	}
	if diff := cmp.Diff(want, h.opts); diff != "" {
		t.Errorf("options (-want +got):\n%s", diff)
	}
	for i := range before {
		// cmp.Diff takes seconds for so many.
		if after := diskEvents(t, h, i); !slices.EqualFunc(before[i], after, func(x, y Event) bool { return reflect.DeepEqual(x, y) }) {
			t.Errorf("partition %d: the %d events differ from the %d before", i, len(after), len(before[i]))
		}
	}
	if first, err := h.Append(0, []byte("next")); err != nil || first != 100+3*maxSegmentEvents {
		t.Errorf("the next event: got sequence %d, %v; want %d", first, err, 100+3*maxSegmentEvents)
	}
	if err := b.DeleteHub("logs"); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(o.DataDir); err != nil || len(entries) != 0 {
		t.Errorf("after the deletion: %v, %v; want an empty folder", entries, err)
	}
}

// A process that is killed has closed nothing; what Append confirmed must be there.
func TestAppendedEventsSurviveACrash(t *testing.T) {
	o := testOptions()
	o.DataDir = t.TempDir()
	h, err := openBroker(t, o).CreateHub(testHub, 1, HubOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		fill(t, h, 0, 10)
	}
	after, ok := openBroker(t, o).Hub(testHub)
	if !ok {
		t.Fatal("the hub is gone")
	}
	if diff := cmp.Diff(diskEvents(t, h, 0), diskEvents(t, after, 0)); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
}

func TestTornTailIsCut(t *testing.T) {
	o := testOptions()
	o.DataDir = t.TempDir()
	b := openBroker(t, o)
	h, err := b.CreateHub(testHub, 1, HubOptions{})
	if err != nil {
		t.Fatal(err)
	}
	fill(t, h, 0, 10)
	want := diskEvents(t, h, 0)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	path := segmentFiles(t, o.DataDir, "0")[0]
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	flipped := append([]byte(nil), whole...)
	flipped[len(flipped)-1] ^= 1
	for _, tc := range []struct {
		name string
		file []byte
		left int
	}{
		{"one byte missing", whole[:len(whole)-1], 9},
		{"most of a record missing", whole[:len(whole)-30], 9},
		{"zeros behind the last record", append(append([]byte(nil), whole...), make([]byte, 100)...), 10},
		{"a flipped bit", flipped, 9},
		{"nothing but the header", whole[:segmentHeaderSize], 0},
		{"a part of the header", whole[:5], 0},
		{"an empty file", nil, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := os.WriteFile(path, tc.file, 0o644); err != nil {
				t.Fatal(err)
			}
			for reopened := range 2 { // what was cut must be gone, and the next event readable
				b := openBroker(t, o)
				h, _ := b.Hub(testHub)
				got := diskEvents(t, h, 0)
				if diff := cmp.Diff(want[:tc.left], got[:min(tc.left, len(got))], cmpopts.EquateEmpty()); diff != "" || len(got) != tc.left+reopened {
					t.Errorf("opening %d: %d events, want %d, (-want +got):\n%s", reopened, len(got), tc.left+reopened, diff)
				}
				if first, err := h.Append(0, []byte("next")); err != nil || first != int64(tc.left+reopened) {
					t.Errorf("the next event: got sequence %d, %v; want %d", first, err, tc.left+reopened)
				}
				if err := b.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestDamageIsReported(t *testing.T) {
	for _, tc := range []struct {
		name   string
		damage func(files []string) error
		want   string
	}{
		{"in the middle", func(files []string) error { return os.Truncate(files[0], 1000) }, "damaged at byte"},
		{"a missing segment", func(files []string) error { return os.Remove(files[1]) }, "missing or cut"},
		{"another kind of file", func(files []string) error { return os.WriteFile(files[0], make([]byte, 100), 0o644) }, "not a segment file"},
		{"a broken description", func(files []string) error {
			return os.WriteFile(filepath.Join(filepath.Dir(files[0]), "..", hubFile), []byte("{"), 0o644)
		}, hubFile},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := testOptions()
			o.DataDir = t.TempDir()
			b := openBroker(t, o)
			h, err := b.CreateHub(testHub, 1, HubOptions{})
			if err != nil {
				t.Fatal(err)
			}
			fill(t, h, 0, 2*maxSegmentEvents+1)
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			if err := tc.damage(segmentFiles(t, o.DataDir, "0")); err != nil {
				t.Fatal(err)
			}
			if _, err := New(o); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

func TestHubRules(t *testing.T) {
	b := openBroker(t, testOptions())
	for _, tc := range []struct {
		name       string
		hub        string
		partitions int
		opts       HubOptions
	}{
		{"no name", "", 1, HubOptions{}},
		{"a name that is a path", "..", 1, HubOptions{}},
		{"a slash", "a/b", 1, HubOptions{}},
		{"no partitions", "a", 0, HubOptions{}},
		{"too many partitions", "a", maxPartitions + 1, HubOptions{}},
		{"a nameless group", "a", 1, HubOptions{ConsumerGroups: []string{""}}},
		{"a long group", "a", 1, HubOptions{ConsumerGroups: []string{strings.Repeat("x", maxGroupName+1)}}},
		{"negative retention", "a", 1, HubOptions{RetainEvents: -1}},
	} {
		if _, err := b.CreateHub(tc.hub, tc.partitions, tc.opts); err == nil {
			t.Errorf("%s: the hub was created", tc.name)
		}
	}
	if _, err := b.CreateHub("a", 1, HubOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.CreateHub("A", 1, HubOptions{}); err == nil {
		t.Error("a second hub of the same name was created")
	}
	if got := fmt.Sprint(len(b.Hubs()), b.DeleteHub("b") != nil, b.DeleteHub("a")); got != "1 true <nil>" {
		t.Errorf("hubs, deleting an unknown and a known one: got %s", got)
	}
}
