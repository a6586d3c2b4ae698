package telemetry

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/lazuli-logs/lazuli/internal/status"
)

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestEndpoints(t *testing.T) {
	board := status.NewBoard(time.Now)
	m := NewMetrics(func() float64 { return 42 }, func() float64 { return 64 })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	addr, err := Serve(ctx, "127.0.0.1:0", Handler(m.Registry, board), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	hub, out := board.Component("source", "hub"), board.Component("sink", "out")
	for _, tc := range []struct {
		hub, out status.State
		ready    int
	}{
		{status.Starting, status.OK, 503},
		{status.OK, status.OK, 200},
		{status.Retrying, status.OK, 200},
		{status.OK, status.Failed, 503},
	} {
		hub.Set(tc.hub, "because", "do this")
		out.Set(tc.out, "", "")
		if code, body := get(t, "http://"+addr+"/readyz"); code != tc.ready {
			t.Errorf("/readyz with source %s, sink %s = %d, want %d", tc.hub, tc.out, code, tc.ready)
		} else if !strings.Contains(body, "do this") {
			t.Errorf("/readyz does not tell the remedy: %s", body)
		}
		code, body := get(t, "http://"+addr+"/healthz")
		var answer struct{ Components []status.Report }
		if err := json.Unmarshal([]byte(body), &answer); code != 200 || err != nil || len(answer.Components) != 2 {
			t.Errorf("/healthz = %d %s, %v; want 200 and two components", code, body, err)
		}
	}
	if _, body := get(t, "http://"+addr+"/metrics"); !strings.Contains(body, "lazuli_pipeline_in_flight_bytes 42") {
		t.Error("/metrics lacks lazuli_pipeline_in_flight_bytes 42")
	}
}

func TestServeNamesTheAddressItCannotHave(t *testing.T) {
	_, err := Serve(t.Context(), "127.0.0.1:99999", nil, nil)
	if err == nil || !strings.Contains(err.Error(), "telemetry.listen") {
		t.Fatalf("Serve = %v, want an error that names the option", err)
	}
}

// TestEveryMetricIsDocumented holds the reference against the code, both ways.
func TestEveryMetricIsDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/spec/telemetry.md")
	if err != nil {
		t.Fatal(err)
	}
	src, err := os.ReadFile("metrics.go")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, quoted := range strings.Split(string(src), `"`) {
		for _, suffix := range []string{"_total", "_seconds", "_bytes", "_events", "_partitions", "_blobs"} {
			if strings.HasSuffix(quoted, suffix) && strings.ToLower(quoted) == quoted && !strings.ContainsAny(quoted, " ./") {
				names["lazuli_"+quoted] = true
			}
		}
	}
	if len(names) < 20 {
		t.Fatalf("found only %d metrics in metrics.go", len(names))
	}
	for name := range names {
		if !strings.Contains(string(doc), fmt.Sprintf("`%s`", name)) {
			t.Errorf("docs/spec/telemetry.md does not describe %s", name)
		}
	}
	for _, word := range strings.Split(string(doc), "`") {
		if strings.HasPrefix(word, "lazuli_") && !strings.ContainsAny(word, " <") && !names[word] {
			t.Errorf("docs/spec/telemetry.md describes %s, which does not exist", word)
		}
	}
}
