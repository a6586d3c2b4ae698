package js_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azuresim"
)

func TestStorage(t *testing.T) {
	if _, err := os.Stat("node_modules/@azure/storage-blob"); errors.Is(err, fs.ErrNotExist) {
		t.Skip("@azure/storage-blob is absent: run npm ci in e2e/js")
	}
	sim, err := azuresim.Start(t.Context(), azuresim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer sim.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	e := sim.Endpoints.Storage
	out, err := exec.CommandContext(ctx, "node", "storage.mjs", e.ConnectionString, e.Blob+"/logs?"+e.SAS).CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "ok ") {
		t.Errorf("node storage.mjs: %v; it printed\n%s", err, out)
	}
}
