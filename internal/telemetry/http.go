package telemetry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/lazuli-logs/lazuli/internal/status"
)

// Handler serves /metrics (Prometheus), /healthz and /readyz.
//
// /healthz answers 200 as long as the process can answer at all. /readyz answers
// 503 while a component is starting or has failed, and 200 otherwise: one that
// is retrying needs no restart. Both list every component with its state,
// reason and remedy.
func Handler(registry *prometheus.Registry, board *status.Board) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeReports(w, http.StatusOK, board.Snapshot())
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		reports, code := board.Snapshot(), http.StatusOK
		for _, r := range reports {
			if r.State == status.Starting || r.State == status.Failed {
				code = http.StatusServiceUnavailable
			}
		}
		writeReports(w, code, reports)
	})
	return mux
}

func writeReports(w http.ResponseWriter, code int, reports []status.Report) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(map[string]any{"components": reports}) // the client went away
}

// Serve listens on addr and serves h until ctx ends. It returns the address
// once it listens; with addr "" it serves nothing and returns "".
func Serve(ctx context.Context, addr string, h http.Handler, logger *slog.Logger) (string, error) {
	if addr == "" {
		return "", nil
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return "", fmt.Errorf("listen for metrics and health on %q (telemetry.listen): %w", addr, err)
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			logger.Error("metrics and health are no longer served", "error", err)
		}
	}()
	context.AfterFunc(ctx, func() { server.Close() })
	return ln.Addr().String(), nil
}
