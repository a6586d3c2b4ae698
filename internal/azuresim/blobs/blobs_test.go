package blobs_test

import (
	"errors"
	"fmt"
	"net/http/httptest"
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
