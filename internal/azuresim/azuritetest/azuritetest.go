// Package azuritetest starts Microsoft's storage emulator for tests: the second
// opinion on what the built-in Azure says of itself. It comes from npm ("make
// node"); where it is not installed, tests are skipped.
package azuritetest

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// The account that every copy of the emulator has, with its public key
// (learn.microsoft.com/azure/storage/common/storage-use-azurite).
const (
	Account = "devstoreaccount1"
	Key     = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

// Blob starts the blob service and returns its address, host:port.
func Blob(t testing.TB) string {
	t.Helper()
	address := freeAddress(t)
	start(t, "azurite-blob", []string{address}, flags("blob", address)...)
	return address
}

// Queue starts the queue service and returns its address, host:port.
func Queue(t testing.TB) string {
	t.Helper()
	address := freeAddress(t)
	start(t, "azurite-queue", []string{address}, flags("queue", address)...)
	return address
}

// Storage starts both as one account and returns their addresses.
func Storage(t testing.TB) (blob, queue string) {
	t.Helper()
	blob, queue = freeAddress(t), freeAddress(t)
	all := append(append(flags("blob", blob), flags("queue", queue)...), flags("table", freeAddress(t))...)
	start(t, "azurite", []string{blob, queue}, all...)
	return blob, queue
}

// ConnectionString is that of an account whose services are at these addresses;
// an empty one is left out.
func ConnectionString(blob, queue string) string {
	s := "DefaultEndpointsProtocol=http;AccountName=" + Account + ";AccountKey=" + Key + ";"
	if blob != "" {
		s += "BlobEndpoint=http://" + blob + "/" + Account + ";"
	}
	if queue != "" {
		s += "QueueEndpoint=http://" + queue + "/" + Account + ";"
	}
	return s
}

func flags(service, address string) []string {
	host, port, _ := net.SplitHostPort(address)
	return []string{"--" + service + "Host", host, "--" + service + "Port", port}
}

func freeAddress(t testing.TB) string {
	t.Helper()
	free, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	return address
}

// start runs one of the emulator's programs until the end of the test, and
// waits until it listens.
func start(t testing.TB, program string, addresses []string, args ...string) {
	t.Helper()
	path := filepath.Join(root(t), "e2e", "node_modules", ".bin", program)
	if _, err := os.Stat(path); err != nil {
		t.Skip("Azurite is not installed: make node")
	}
	// It refuses versions of the API that are newer than itself.
	// It outlives t.Context(): what was opened later is closed while it still runs.
	command := exec.CommandContext(context.WithoutCancel(t.Context()), path, append(args, "--silent", "--skipApiVersionCheck", "--disableTelemetry", "--inMemoryPersistence")...)
	command.Dir = t.TempDir()
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	deadline := time.Now().Add(2 * time.Minute)
	for _, address := range addresses {
		for !listens(t, address) {
			if time.Now().After(deadline) {
				t.Fatalf("Azurite does not listen on %s", address)
			}
			time.Sleep(20 * time.Millisecond) // another process: there is nothing to wait for but the port
		}
	}
}

func listens(t testing.TB, address string) bool {
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(t.Context(), "tcp", address)
	if err == nil {
		_ = conn.Close()
	}
	return err == nil
}

// root returns the repository's folder.
func root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("the test runs outside of the repository")
		}
		dir = parent
	}
}
