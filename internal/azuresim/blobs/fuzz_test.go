package blobs_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azuresim/blobs"
	"github.com/lazuli-logs/lazuli/internal/azuresim/storageapi"
)

// FuzzRequests sends authorized requests of any form: each must be answered, and
// none with a failure of the server's.
func FuzzRequests(f *testing.F) {
	f.Add("GET", "logs/b", "", "Range", "bytes=0-1", "")
	f.Add("PUT", "logs/b", "comp=block&blockid=YQ==", "x-ms-lease-id", "x", "data")
	f.Add("PUT", "logs/b", "comp=blocklist", "If-None-Match", "*", "<BlockList><Latest>YQ==</Latest></BlockList>")
	f.Add("PUT", "logs/b", "comp=appendblock", "x-ms-blob-condition-appendpos", "-1", "x")
	f.Add("PUT", "logs/b", "comp=lease", "x-ms-lease-action", "break", "")
	f.Add("GET", "logs", "restype=container&comp=list&prefix=r&delimiter=/&marker=2!cg==&maxresults=1", "", "", "")
	f.Add("GET", "", "comp=list&include=metadata", "", "", "")
	f.Add("PUT", "logs/c", "", "x-ms-copy-source", "http://x/a/logs/b", "")
	options := blobs.Options{Options: storageapi.Options{Accounts: map[string]string{account: key}}}
	signature, err := storageapi.AccountSignature(account, key, "bq", "rwdlacup", time.Now().Add(time.Hour))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, method, path, query, header, value, body string) {
		s, err := blobs.New(options)
		if err != nil {
			t.Fatal(err)
		}
		mustContainer(t, s, "logs")
		h := &blobs.History{Prefixes: []string{"r/"}, From: time.Unix(0, 0), Hours: 3, Line: "{}"}
		if err := s.SetHistory(account, "logs", h); err != nil {
			t.Fatal(err)
		}
		if err := s.Append(account, "logs", "b", []byte("line\n")); err != nil {
			t.Fatal(err)
		}
		r := &http.Request{
			Method: method, URL: &url.URL{Path: "/" + account + "/" + path, RawQuery: query + "&" + signature}, Host: "127.0.0.1:1",
			Header: http.Header{}, Body: http.NoBody, RemoteAddr: "127.0.0.1:2",
		}
		if body != "" {
			copied := httptest.NewRequest(http.MethodPut, "/", strings.NewReader(body))
			r.Body, r.ContentLength = copied.Body, copied.ContentLength
		}
		r.Header.Set("x-ms-blob-type", "BlockBlob")
		r.Header.Set(header, value)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r.WithContext(t.Context()))
		if w.Code == http.StatusInternalServerError {
			t.Errorf("%s %s?%s: %s", method, path, query, w.Body)
		}
	})
}
