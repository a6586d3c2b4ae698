package kafka

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"testing"

	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/sink/sinktest"
)

// TestAnotherClientReadsWhatWasProduced: kcat stands on librdkafka, which shares
// no code with franz-go. The broker between them is franz-go's.
func TestAnotherClientReadsWhatWasProduced(t *testing.T) {
	path, err := exec.LookPath("kcat")
	if err != nil {
		t.Skip("kcat is not installed: apt-get install kcat")
	}
	for _, compression := range []string{"zstd", "lz4", "snappy", "gzip", "none"} {
		t.Run(compression, func(t *testing.T) {
			c := newCluster(t)
			cfg := c.config()
			cfg.Compression = compression
			s := open(t, cfg)
			events := append(sinktest.Events("many", 3000, 300), sinktest.Events("large", 3, 500_000)...)
			for chunk := range slices.Chunk(events, 1000) {
				if err := s.Deliver(t.Context(), chunk); err != nil {
					t.Fatal(err)
				}
			}
			type record struct {
				Key, Payload string
				TS           int64
				Headers      []string
			}
			want := map[string]record{}
			for i := range events {
				e := &events[i]
				want[string(e.ID)] = record{string(e.ID), string(e.Data), e.Time.UnixMilli(), headersOf(e)}
			}
			got := map[string]record{}
			command := exec.CommandContext(t.Context(), path, "-C", "-e", "-q", "-J", "-b", c.address, "-t", topicName, "-X", "check.crcs=true")
			command.Env = []string{"HOME=" + t.TempDir()} // without the user's configuration
			var stderr bytes.Buffer
			command.Stderr = &stderr
			out, err := command.Output()
			if err != nil {
				t.Fatalf("kcat: %v\n%s", err, stderr.String())
			}
			n := 0
			for line := range bytes.Lines(out) {
				var r record
				if err := json.Unmarshal(line, &r); err != nil {
					t.Fatalf("%v: %.300s", err, line)
				}
				got[r.Key] = r
				n++
			}
			if n != len(events) || !maps.EqualFunc(got, want, func(a, b record) bool { return fmt.Sprint(a) == fmt.Sprint(b) }) {
				t.Errorf("kcat read %d records of %d ids, which are not the %d that were sent", n, len(got), len(events))
				for id, r := range want {
					if fmt.Sprint(got[id]) != fmt.Sprint(r) {
						t.Fatalf("for example %.500q, want %.500q", fmt.Sprint(got[id]), fmt.Sprint(r))
					}
				}
			}
		})
	}
}

func headersOf(e *event.Event) []string {
	return []string{headerID, string(e.ID), headerLogType, e.LogType, headerSchema, e.Schema}
}
