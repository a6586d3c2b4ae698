// Package js_test runs Microsoft's JavaScript clients against the built-in Azure.
// Run "npm ci" in this folder first; without node_modules the tests are skipped.
package js_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azuresim/eventhubs"
)

func TestEventHubs(t *testing.T) {
	if _, err := os.Stat("node_modules"); errors.Is(err, fs.ErrNotExist) {
		t.Skip("node_modules is absent: run npm ci in e2e/js")
	}
	const hub, policy = "logs", "RootManageSharedAccessKey"
	broker, err := eventhubs.New(eventhubs.Options{Keys: map[string]string{policy: "a2V5IG9mIHRoZSBzaW11bGF0b3I="}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := broker.CreateHub(hub, 4, eventhubs.HubOptions{}); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- broker.ServeAMQP(ln) }()
	t.Cleanup(func() {
		if err := errors.Join(broker.Close(), <-done); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "eventhubs.mjs", broker.EmulatorConnectionString(ln.Addr().String(), policy, ""), hub)
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != "ok 95\n" {
		t.Errorf("node eventhubs.mjs: %v; it printed\n%s", err, out)
	}
}
