package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/lazuli-logs/lazuli/internal/azuresim/azuritetest"
	"github.com/lazuli-logs/lazuli/internal/azuresim/blobs"
	"github.com/lazuli-logs/lazuli/internal/azuresim/storageapi"
)

// lake is a storage account that the sink blob writes to.
func lake(t *testing.T) destination {
	t.Helper()
	const account, container = azuritetest.Account, "lake"
	azure, err := blobs.New(blobs.Options{Options: storageapi.Options{Accounts: map[string]string{account: azuritetest.Key}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := azure.CreateContainer(account, container); err != nil {
		t.Fatal(err)
	}
	var lose atomic.Int32 // so many answers are lost, after the blob was written
	listener := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && lose.Add(-1) >= 0 {
			azure.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		azure.ServeHTTP(w, r)
	}))
	t.Cleanup(listener.Close)
	decoder, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(decoder.Close)
	seen := map[string]bool{}
	var lines [][]byte
	return destination{
		sink: fmt.Sprintf("    type: blob\n    connection_string: %q\n    container: %s\n    batch: {wait: 100ms}\n    timeout: 5s\n",
			azuritetest.ConnectionString(strings.TrimPrefix(listener.URL, "http://"), ""), container),
		disturb: []func(){
			func() { azure.Faults.Add(storageapi.Fault{Times: 3, Error: storageapi.ServerBusy(time.Second)}) },
			func() {
				azure.Faults.Add(storageapi.Fault{Times: 3, Error: storageapi.Errorf(500, "InternalError", "The server encountered an internal error.")})
			},
			func() { azure.Faults.Add(storageapi.Fault{Times: 2, Cut: true}) },
			func() { lose.Store(2) },
		},
		refuse: func(on bool) {
			if azure.Faults.Clear(); on {
				azure.Faults.Add(storageapi.Fault{Times: -1, Error: storageapi.Errorf(403, "AuthorizationPermissionMismatch", "This request is not authorized to perform this operation using this permission.")})
			}
		},
		arrived: func() [][]byte {
			for _, name := range azure.Names(account, container) {
				if seen[name] {
					continue
				}
				packed, err := azure.Read(account, container, name)
				if err != nil {
					t.Fatal(err)
				}
				if err := decoder.Reset(bytes.NewReader(packed)); err != nil {
					t.Fatal(err)
				}
				text, err := io.ReadAll(decoder)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				seen[name] = true
				lines = append(lines, bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))...)
			}
			return lines
		},
	}
}
