package ledger

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/lazuli-logs/lazuli/internal/azuresim/recordid"
)

const seed = 20260101

func id(n uint64) string { return string(recordid.New(seed).Append(nil, n)) }

func TestReport(t *testing.T) {
	tests := []struct {
		name string
		do   func(*Ledger)
		want Report
	}{
		{"nothing", func(*Ledger) {}, Report{}},
		{"all delivered", func(l *Ledger) {
			l.Produced(0, 3)
			for n := range uint64(3) {
				l.Seen([]byte(id(n)))
			}
		}, Report{Produced: 3, Delivered: 3}},
		{"one lost, one twice, one three times", func(l *Ledger) {
			l.Produced(0, 4)
			for _, n := range []uint64{0, 1, 1, 3, 3, 3} {
				l.Seen([]byte(id(n)))
			}
		}, Report{Produced: 4, Delivered: 3, Lost: 1, Duplicated: 3}},
		{"seen before it is noted as produced", func(l *Ledger) {
			l.Seen([]byte(id(0)))
			l.Produced(0, 1)
		}, Report{Produced: 1, Delivered: 1}},
		{"never produced, altered, and of another seed", func(l *Ledger) {
			l.Produced(0, 1)
			l.Seen([]byte(id(0)))
			l.Seen([]byte(id(1)))
			l.Seen([]byte(id(0)[:35] + "x"))
			l.Seen(recordid.New(seed+1).Append(nil, 0))
		}, Report{Produced: 1, Delivered: 1, Unknown: 3}},
		{"of those that may be, only the seen one was produced", func(l *Ledger) {
			l.Produced(0, 2)
			l.MaybeProduced(2, 10)
			for _, n := range []uint64{0, 1, 5} {
				l.Seen([]byte(id(n)))
			}
		}, Report{Produced: 3, Delivered: 3}},
		{"lines", func(l *Ledger) {
			l.Produced(0, 3)
			l.SeenLine([]byte(`{"a":"` + id(0) + `","b":"Directory_` + id(0) + `_X","raw":"{\"id\":\"` + id(0) + `\"}"}`))
			l.SeenLine([]byte(`{"records":[{"id":"` + id(1) + `"},{"id":"` + id(2) + `"},{"id":"` + id(1) + `"}]}`))
			l.SeenLine([]byte(`{"no":"id"}`))
		}, Report{Produced: 3, Delivered: 3, NoID: 1}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			l := New(seed)
			tc.do(l)
			if diff := cmp.Diff(tc.want, l.Report()); diff != "" {
				t.Errorf("report (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWholePagesTakeNoRoomAndStillTell(t *testing.T) {
	l := New(seed)
	const count = 3*bitsPerPage + 100
	l.Produced(0, count)
	for n := range uint64(count) {
		if n != bitsPerPage+7 {
			l.Seen([]byte(id(n)))
		}
	}
	l.Seen([]byte(id(3))) // a repeat in a page that is full
	want := Report{Produced: count, Delivered: count - 1, Lost: 1, Duplicated: 1}
	if diff := cmp.Diff(want, l.Report()); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{id(bitsPerPage + 7)}, l.Lost(10)); diff != "" {
		t.Errorf("lost (-want +got):\n%s", diff)
	}
	held := 0
	for _, p := range l.seen.pages {
		if p != nil {
			held++
		}
	}
	if held != 2 {
		t.Errorf("%d pages of what was seen are held, want 2: the one with a hole and the last", held)
	}
}

func TestLostAndUnknownListsStopAtTheLimit(t *testing.T) {
	l := New(seed)
	l.Produced(0, 100)
	l.Seen([]byte(id(1)))
	l.Seen([]byte(id(500)))
	if diff := cmp.Diff([]string{id(0), id(2), id(3)}, l.Lost(3)); diff != "" {
		t.Errorf("lost (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{id(500)}, l.Unknown(3)); diff != "" {
		t.Errorf("unknown (-want +got):\n%s", diff)
	}
}

func TestFreshSharesWhatWasProduced(t *testing.T) {
	l := New(seed)
	l.Produced(0, 1)
	l.Seen([]byte(id(0)))
	fresh := l.Fresh()
	l.Produced(1, 1)
	fresh.Seen([]byte(id(1)))
	if diff := cmp.Diff(Report{Produced: 2, Delivered: 1, Lost: 1}, fresh.Report()); diff != "" {
		t.Errorf("report of the fresh ledger (-want +got):\n%s", diff)
	}
}

func TestReadFiles(t *testing.T) {
	line := func(n uint64) string { return fmt.Sprintf(`{"event":{"id":%q}}`, id(n)) }
	long := `{"pad":"` + strings.Repeat("x", 3<<20) + `","id":"` + id(2) + `"}`
	zipped := func(compress func(io.Writer) io.WriteCloser, texts ...string) []byte {
		var b bytes.Buffer
		for _, text := range texts { // one member or frame for each text
			w := compress(&b)
			io.WriteString(w, text)
			w.Close()
		}
		return b.Bytes()
	}
	gz := func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }
	zst := func(w io.Writer) io.WriteCloser { e, _ := zstd.NewWriter(w); return e }
	tests := []struct {
		name string
		data []byte
		want Report
	}{
		{"empty", nil, Report{Produced: 3, Lost: 3}},
		{"plain with blank lines and CRLF", []byte(line(0) + "\r\n\n" + line(1) + "\n" + line(2) + "\n"), Report{Produced: 3, Delivered: 3}},
		{"line longer than the buffer", []byte(line(0) + "\n" + long + "\n" + line(1) + "\n"), Report{Produced: 3, Delivered: 3}},
		{"whole last line without line feed", []byte(line(0) + "\n" + line(1)), Report{Produced: 3, Delivered: 2, Lost: 1}},
		{"torn last line does not count", []byte(line(0) + "\n" + line(1)[:len(line(1))-1]), Report{Produced: 3, Delivered: 1, Lost: 2}},
		{"gzip of two members", zipped(gz, line(0)+"\n", line(1)+"\n"), Report{Produced: 3, Delivered: 2, Lost: 1}},
		{"zstd of two frames", zipped(zst, line(0)+"\n", line(0)+"\n"), Report{Produced: 3, Delivered: 1, Lost: 2, Duplicated: 1}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "out")
			if err := os.WriteFile(path, tc.data, 0o600); err != nil {
				t.Fatal(err)
			}
			l := New(seed)
			l.Produced(0, 3)
			if err := l.ReadFiles(path); err != nil {
				t.Fatalf("ReadFiles: %v", err)
			}
			if diff := cmp.Diff(tc.want, l.Report()); diff != "" {
				t.Errorf("report (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadErrorsNameTheFile(t *testing.T) {
	dir := t.TempDir()
	var cut bytes.Buffer
	w := gzip.NewWriter(&cut)
	fmt.Fprintf(w, "%s\n", id(0))
	w.Close()
	torn := filepath.Join(dir, "torn.gz")
	if err := os.WriteFile(torn, cut.Bytes()[:cut.Len()-6], 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{torn, filepath.Join(dir, "absent")} {
		err := New(seed).ReadFiles(path)
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("ReadFiles(%q) = %v, want an error that names the file", path, err)
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	l := New(seed)
	var group sync.WaitGroup
	for part := range uint64(4) {
		group.Go(func() { l.Produced(part*1000, 1000) })
		group.Go(func() {
			for n := range uint64(1000) {
				l.Seen([]byte(id(part*1000 + n)))
			}
			l.Report()
		})
	}
	group.Wait()
	if diff := cmp.Diff(Report{Produced: 4000, Delivered: 4000}, l.Report()); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
}

func BenchmarkRead(b *testing.B) {
	var file bytes.Buffer
	for n := range uint64(10_000) {
		fmt.Fprintf(&file, `{"pad":%q,"event":{"id":%q},"correlation":%q}`+"\n", strings.Repeat("x", 2000), id(n), id(n))
	}
	b.SetBytes(int64(file.Len()))
	b.ReportAllocs()
	for b.Loop() {
		l := New(seed)
		l.Produced(0, 10_000)
		if err := l.Read(bytes.NewReader(file.Bytes())); err != nil {
			b.Fatal(err)
		}
		if got := l.Report(); got.Lost != 0 || got.Duplicated != 0 {
			b.Fatal(got)
		}
	}
}
