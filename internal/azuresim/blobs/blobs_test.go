package blobs_test

import (
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"

	"github.com/lazuli-logs/lazuli/internal/azuresim/blobs"
	"github.com/lazuli-logs/lazuli/internal/azuresim/storageapi"
)

// The account that every copy of Microsoft's emulator has, with its public key
// (learn.microsoft.com/azure/storage/common/storage-use-azurite).
const (
	account = "devstoreaccount1"
	key     = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

// start serves Blob Storage and returns its address.
func start(t testing.TB, options blobs.Options) (*blobs.Server, string) {
	t.Helper()
	options.Accounts = map[string]string{account: key}
	server, err := blobs.New(options)
	if err != nil {
		t.Fatal(err)
	}
	listener := httptest.NewServer(server)
	t.Cleanup(listener.Close)
	return server, listener.Listener.Addr().String()
}

// startAzurite starts Microsoft's storage emulator and returns the address of
// its blob service. It skips the test where the emulator is not installed.
func startAzurite(t *testing.T) string {
	t.Helper()
	program, err := filepath.Abs("../../../e2e/node_modules/.bin/azurite-blob")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(program); err != nil {
		t.Skip("Azurite is not installed: run npm ci in e2e/")
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	_ = free.Close()
	command := exec.Command(program, "--blobHost", "127.0.0.1", "--blobPort", port,
		"--silent", "--skipApiVersionCheck", "--disableTelemetry", "--inMemoryPersistence")
	command.Dir = t.TempDir()
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	for deadline := time.Now().Add(2 * time.Minute); ; {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			_ = conn.Close()
			return address
		}
		if time.Now().After(deadline) {
			t.Fatalf("Azurite does not listen: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// noRetries makes the client report what it is told.
func noRetries() azcore.ClientOptions {
	return azcore.ClientOptions{Retry: policy.RetryOptions{MaxRetries: -1}}
}

func serviceClient(t testing.TB, address string) *service.Client {
	t.Helper()
	credential, err := service.NewSharedKeyCredential(account, key)
	if err != nil {
		t.Fatal(err)
	}
	client, err := service.NewClientWithSharedKeyCredential("http://"+address+"/"+account+"/", credential, &service.ClientOptions{ClientOptions: noRetries()})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// code returns what a client was refused with, e.g. "404 BlobNotFound", or "ok".
func code(err error) string {
	var refused *azcore.ResponseError
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &refused):
		return fmt.Sprintf("%d %s", refused.StatusCode, refused.ErrorCode)
	}
	return err.Error()
}

func check(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %s, want %s", what, got, want)
	}
}

func mustContainer(t testing.TB, s *blobs.Server, name string) {
	t.Helper()
	if err := s.CreateContainer(account, name); err != nil {
		t.Fatal(err)
	}
}

func clock(at *time.Time) blobs.Options {
	return blobs.Options{Options: storageapi.Options{Now: func() time.Time { return *at }}}
}

// words joins values with blanks.
func words(values ...any) string { return strings.TrimSuffix(fmt.Sprintln(values...), "\n") }
