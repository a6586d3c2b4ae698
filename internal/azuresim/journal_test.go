package azuresim

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lazuli-logs/lazuli/internal/azuresim/ledger"
	"github.com/lazuli-logs/lazuli/internal/azuresim/recordid"
)

// kill leaves a journal as a killed process does.
func (j *journal) kill() { j.file.Close() }

func TestJournalAfterKills(t *testing.T) {
	const seed = 1
	path := filepath.Join(t.TempDir(), "produced")
	open := func() (*journal, *ledger.Ledger) {
		l := ledger.New(seed)
		j, err := openJournal(path, l)
		if err != nil {
			t.Fatal(err)
		}
		return j, l
	}
	do := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}

	j, _ := open()
	do(j.reserve(10))
	do(j.produced(10))
	do(j.reserve(15)) // 10 to 14 are being written
	j.kill()

	j, l := open()
	if j.next < 15 {
		t.Fatalf("numbers from %d on are used again", j.next)
	}
	second := j.next
	if got := l.Report().Produced; got != 10 {
		t.Errorf("%d produced for sure, want 10", got)
	}
	j.kill() // at once
	j, _ = open()
	if j.next != second {
		t.Errorf("next number %d, want %d: none was used", j.next, second)
	}
	do(j.reserve(second + 5))
	do(j.produced(second + 5))
	do(j.close())

	j, l = open()
	if j.next != second+5 {
		t.Errorf("next number %d after an orderly end, want %d", j.next, second+5)
	}
	// Of the five numbers in doubt, two did get into the hub.
	for _, n := range []uint64{0, 9, 10, 11, second, second + 4} {
		l.Seen(recordid.New(seed).Append(nil, n))
	}
	if diff := cmp.Diff(ledger.Report{Produced: 10 + 2 + 5, Delivered: 6, Lost: 8 + 3}, l.Report()); diff != "" {
		t.Errorf("ledger (-want +got):\n%s", diff)
	}
	do(j.close())
}

func TestJournalRefusesOtherFiles(t *testing.T) {
	for _, content := range []string{"hello\n", "5 3\n", "1\n", "1 2\nx y\n"} {
		path := filepath.Join(t.TempDir(), "produced")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := openJournal(path, ledger.New(1))
		if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "another data folder") {
			t.Errorf("journal %q: %v, want an error that names the file and the remedy", content, err)
		}
	}
}
