package blobs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/lazuli-logs/lazuli/internal/azuresim/blobs"
	"github.com/lazuli-logs/lazuli/internal/azuresim/storageapi"
)

type netConn = net.Conn

func dial(ctx context.Context, network, address string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

func TestHistoryIsListedReadChangedAndDeleted(t *testing.T) {
	s, address := start(t, blobs.Options{})
	mustContainer(t, s, "insights-logs-auditevent")
	h := &blobs.History{
		Prefixes: []string{"resourceId=/A/", "resourceId=/B/"}, From: time.Date(2020, 2, 28, 22, 0, 0, 0, time.UTC), Hours: 1000,
		Line: `{"time":"{time}","category":"AuditEvent"}`, Lines: 3,
	}
	if err := s.SetHistory(account, "insights-logs-auditevent", h); err != nil {
		t.Fatal(err)
	}
	c := serviceClient(t, address).NewContainerClient("insights-logs-auditevent")
	list := func(o *container.ListBlobsFlatOptions) (names []string) {
		pager := c.NewListBlobsFlatPager(o)
		for pager.More() {
			page, err := pager.NextPage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range page.Segment.BlobItems {
				names = append(names, *b.Name)
			}
		}
		return names
	}
	names := list(&container.ListBlobsFlatOptions{MaxResults: to.Ptr[int32](700)})
	check(t, "all", words(len(names), names[3], names[1999]), "2000 resourceId=/A/y=2020/m=02/d=29/h=01/m=00/PT1H.json "+h.Name(1999))
	text, err := download(t, c, names[3], &blob.DownloadStreamOptions{Range: blob.HTTPRange{Offset: 5, Count: 80}})
	line := `{"time":"2020-02-29T01:00:00.0000000Z","category":"AuditEvent"}` + "\n"
	check(t, "a range", text+code(err), strings.Repeat(line, 3)[5:85]+"ok")

	// Real blobs stand among the historical ones.
	if err := s.Append(account, "insights-logs-auditevent", "resourceId=/AB/new", []byte("x\n")); err != nil {
		t.Fatal(err)
	}
	if err := s.Append(account, "insights-logs-auditevent", names[4], []byte("late\n")); err != nil {
		t.Fatal(err)
	}
	text, err = download(t, c, names[4], nil)
	check(t, "a late write", words(len(text), text[len(text)-5:], code(err)), words(3*len(line)+5, "late\n", "ok"))
	_, err = c.NewBlobClient(names[5]).Delete(t.Context(), nil)
	check(t, "delete", code(err), "ok")
	_, err = download(t, c, names[5], nil)
	check(t, "read a deleted one", code(err), "404 BlobNotFound")
	after := list(nil)
	check(t, "all afterwards", words(len(after), after[4] == names[4], after[5] == names[6], after[999]), "2000 true true resourceId=/AB/new")

	var found []string
	pager := c.NewListBlobsHierarchyPager("/", &container.ListBlobsHierarchyOptions{Prefix: to.Ptr("resourceId=/B/y=2020/")})
	for pager.More() {
		page, err := pager.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range page.Segment.BlobPrefixes {
			found = append(found, strings.TrimPrefix(*p.Name, "resourceId=/B/y=2020/"))
		}
	}
	check(t, "months", strings.Join(found, ""), "m=02/m=03/m=04/")
}

func TestAMillionOldBlobsTakeNoMemory(t *testing.T) {
	s, address := start(t, blobs.Options{})
	mustContainer(t, s, "archive")
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var prefixes []string
	for i := range 50 {
		prefixes = append(prefixes, fmt.Sprintf("resourceId=/SUBSCRIPTIONS/%02d/", i))
	}
	h := &blobs.History{Prefixes: prefixes, From: time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC), Hours: 20_000, Line: "{}"}
	if err := s.SetHistory(account, "archive", h); err != nil {
		t.Fatal(err)
	}
	c := serviceClient(t, address).NewContainerClient("archive")
	pager := c.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Prefix: to.Ptr(prefixes[49] + "y=2025/m=03/")})
	count := 0
	for pager.More() {
		page, err := pager.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		count += len(page.Segment.BlobItems)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	check(t, "blobs", words(h.Len(), count, s.Counts.Of("ListBlobs")), "1000000 744 1")
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 16<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
}

func TestFaults(t *testing.T) {
	s, address := start(t, blobs.Options{})
	mustContainer(t, s, "logs")
	content := bytes.Repeat([]byte("0123456789"), 10_000)
	if err := s.Put(account, "logs", "b", content); err != nil {
		t.Fatal(err)
	}
	c := serviceClient(t, address).NewContainerClient("logs")
	read := func() (int, error) {
		text, err := download(t, c, "b", nil)
		return len(text), err
	}
	t.Run("busy", func(t *testing.T) {
		s.Faults.Add(storageapi.Fault{Operation: "GetBlob", Error: storageapi.ServerBusy(7 * time.Second)})
		_, err := read()
		check(t, "the answer", code(err), "503 ServerBusy")
		n, err := read()
		check(t, "the next", words(n, code(err)), "100000 ok")
	})
	t.Run("retry after", func(t *testing.T) {
		s.Faults.Add(storageapi.Fault{Error: storageapi.ServerBusy(7 * time.Second)})
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/"+account+"/logs/b", nil)
		if err != nil {
			t.Fatal(err)
		}
		// Not authorized: a fault does not hide that, and is not used up by it.
		r, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		check(t, "the answer", words(r.StatusCode, r.Header.Get("Retry-After")), "401 ")
		s.Faults.Clear()
	})
	t.Run("cut", func(t *testing.T) {
		s.Faults.Add(storageapi.Fault{Cut: true, Times: -1})
		if _, err := read(); err == nil {
			t.Error("a cut connection gave a blob")
		}
		s.Faults.Clear()
		_, err := read()
		check(t, "afterwards", code(err), "ok")
	})
	t.Run("truncated", func(t *testing.T) {
		s.Faults.Add(storageapi.Fault{TruncateAfter: 1234})
		n, err := read()
		if n != 1234 || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("read %d bytes, %v; want 1234 and an unexpected end", n, err)
		}
	})
	t.Run("slow", func(t *testing.T) {
		s.Faults.Add(storageapi.Fault{BytesPerSecond: 1_000_000, PathPart: "logs/b"})
		n, err := read()
		check(t, "read", words(n, code(err)), "100000 ok")
	})
	t.Run("other path", func(t *testing.T) {
		s.Faults.Add(storageapi.Fault{Error: storageapi.ServerBusy(0), PathPart: "logs/a", Times: -1})
		_, err := read()
		check(t, "read", code(err), "ok")
		s.Faults.Clear()
	})
	t.Run("counts", func(t *testing.T) {
		if n := s.Counts.Of("GetBlob"); n < 8 {
			t.Errorf("%d requests counted, want 8 at least", n)
		}
	})
}

// TestReadersSeeOneState lets a blob grow while it is read: whatever is read is a
// beginning of what was written.
func TestReadersSeeOneState(t *testing.T) {
	s, address := start(t, blobs.Options{})
	mustContainer(t, s, "logs")
	c := serviceClient(t, address).NewContainerClient("logs")
	if err := s.Append(account, "logs", "b", []byte("00000000\n")); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	done := make(chan struct{})
	all.Go(func() {
		defer close(done)
		for i := 1; i < 4000; i++ {
			if err := s.Append(account, "logs", "b", fmt.Appendf(nil, "%08d\n", i)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 2 {
		all.Go(func() {
			for last := false; !last; {
				select {
				case <-done:
					last = true
				default:
				}
				text, err := download(t, c, "b", nil)
				if err != nil || len(text)%9 != 0 {
					t.Errorf("read %d bytes: %v", len(text), err)
					return
				}
				for i := range len(text) / 9 {
					if want := fmt.Sprintf("%08d\n", i); text[i*9:i*9+9] != want {
						t.Errorf("line %d is %q", i, text[i*9:i*9+9])
						return
					}
				}
			}
		})
	}
	all.Wait()
}

func TestWhatHappensToBlobs(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	var told []blobs.Created
	options := clock(&now)
	options.Created = func(c blobs.Created) { told = append(told, c) }
	s, address := start(t, options)
	mustContainer(t, s, "logs")
	c := serviceClient(t, address).NewContainerClient("logs")
	for i := range 3 {
		if err := s.Append(account, "logs", "a", fmt.Appendf(nil, "%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	tail := []byte("]}")
	for i := range 2 {
		blocks := []blobs.Block{{ID: blockID(0)}, {ID: blockID(9)}}
		if i == 0 {
			blocks = []blobs.Block{{ID: blockID(0), Data: []byte(`{"records":[`)}, {ID: blockID(9), Data: tail}}
		} else {
			blocks = append(blocks[:1], blobs.Block{ID: blockID(1), Data: []byte("{}")}, blobs.Block{ID: blockID(9)})
		}
		if err := s.PutBlocks(account, "logs", "f", blocks); err != nil {
			t.Fatal(err)
		}
	}
	text, err := download(t, c, "f", nil)
	check(t, "blocks", text+code(err), `{"records":[{}]}ok`)
	upload(t, c, "p", "x", nil)
	var events []string
	for _, e := range told {
		events = append(events, fmt.Sprintf("%s %s %s %d", e.API, e.Blob, e.Type, e.Size))
	}
	check(t, "events", strings.Join(events, ", "), "PutBlob a AppendBlob 0, PutBlockList f BlockBlob 14, PutBlockList f BlockBlob 16, PutBlob p BlockBlob 1")

	props := func() string {
		p, err := c.NewBlobClient("a").GetProperties(t.Context(), nil)
		if err != nil {
			return code(err)
		}
		return words(*p.ContentLength, p.LastModified.Format(time.TimeOnly), p.CreationTime.Format(time.TimeOnly), string(*p.ETag))
	}
	first := props()
	now = now.Add(time.Minute)
	if err := s.Touch(account, "logs", "a"); err != nil {
		t.Fatal(err)
	}
	if second := props(); second == first || !strings.HasPrefix(second, "3 05:07:07 05:06:07 ") {
		t.Errorf("touched: %s, before %s", second, first)
	}
	if err := s.Replace(account, "logs", "a", []byte("other")); err != nil {
		t.Fatal(err)
	}
	if third := props(); !strings.HasPrefix(third, "5 05:07:07 05:07:07 ") {
		t.Errorf("replaced: %s", third)
	}
	if err := s.SetTier(account, "logs", "a", "Archive"); err != nil {
		t.Fatal(err)
	}
	_, err = download(t, c, "a", nil)
	check(t, "archived", code(err), "409 BlobArchived")
	if err := s.Delete(account, "logs", "a"); err != nil {
		t.Fatal(err)
	}
	check(t, "deleted", props(), "404 BlobNotFound")
}

func TestLargeBlobFromASource(t *testing.T) {
	s, address := start(t, blobs.Options{})
	mustContainer(t, s, "logs")
	const size = 5 << 30
	if err := s.PutSource(account, "logs", "huge", size, zeros{}); err != nil {
		t.Fatal(err)
	}
	c := serviceClient(t, address).NewContainerClient("logs")
	text, err := download(t, c, "huge", &blob.DownloadStreamOptions{Range: blob.HTTPRange{Offset: size - 100}})
	check(t, "its end", words(len(text), code(err)), "100 ok")
}

type zeros struct{}

// ReadAt implements io.ReaderAt.
func (zeros) ReadAt(p []byte, _ int64) (int, error) {
	clear(p)
	return len(p), nil
}

func BenchmarkDownload(b *testing.B) {
	s, address := start(b, blobs.Options{})
	mustContainer(b, s, "logs")
	line := bytes.Repeat([]byte("x"), 2000)
	for range 32 << 20 / len(line) {
		if err := s.Append(account, "logs", "b", line); err != nil {
			b.Fatal(err)
		}
	}
	c := serviceClient(b, address).NewContainerClient("logs").NewBlobClient("b")
	b.SetBytes(32 << 20 / int64(len(line)) * int64(len(line)))
	buffer := make([]byte, 1<<20)
	for b.Loop() {
		r, err := c.DownloadStream(b.Context(), nil)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, r.Body, buffer); err != nil {
			b.Fatal(err)
		}
		r.Body.Close()
	}
}

// BenchmarkListHistory lists old blobs, a page of 5,000 at a time.
func BenchmarkListHistory(b *testing.B) {
	s, address := start(b, blobs.Options{})
	mustContainer(b, s, "archive")
	h := &blobs.History{Prefixes: []string{"resourceId=/SUBSCRIPTIONS/A/"}, From: time.Unix(0, 0), Hours: 1_000_000, Line: "{}"}
	if err := s.SetHistory(account, "archive", h); err != nil {
		b.Fatal(err)
	}
	c := serviceClient(b, address).NewContainerClient("archive")
	pager := c.NewListBlobsFlatPager(nil)
	listed := 0
	for b.Loop() {
		if !pager.More() {
			pager = c.NewListBlobsFlatPager(nil)
		}
		page, err := pager.NextPage(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		listed += len(page.Segment.BlobItems)
	}
	b.ReportMetric(float64(listed)/b.Elapsed().Seconds(), "blobs/s")
}
