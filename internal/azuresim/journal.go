package azuresim

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/lazuli-logs/lazuli/internal/azuresim/ledger"
)

// journal keeps on disk which record numbers have been used, so that none is
// used twice, also if the process is killed. Its file has one line
//
//	<produced> <reserved>
//
// that is overwritten: all numbers below produced are in the hubs (except as
// said below), none from reserved on; in between is not known while the process
// runs. When it starts again after a kill, it leaves these numbers out and adds
// a line "<first> <end>" for them. A kill of the process is survived, a crash of
// the machine is not: nothing is synced.
type journal struct {
	file *os.File
	done uint64 // numbers below it are produced
	// next is the first number to use.
	next     uint64
	reserved uint64
}

const (
	journalHead = "%020d %020d\n"
	// reserveAhead saves a write per message.
	reserveAhead = 1 << 16
)

// openJournal reads the journal, or begins one, and notes in l what it says.
func openJournal(path string, l *ledger.Ledger) (*journal, error) {
	j, gaps, err := readJournal(path)
	if err != nil {
		return nil, fmt.Errorf("read the journal of records %q: %w", path, err)
	}
	if j.done < j.reserved {
		gaps = append(gaps, [2]uint64{j.done, j.reserved})
		if _, err := j.file.Seek(0, io.SeekEnd); err != nil {
			return nil, errors.Join(fmt.Errorf("seek in the journal: %w", err), j.file.Close())
		}
		if _, err := fmt.Fprintf(j.file, "%d %d\n", j.done, j.reserved); err != nil {
			return nil, errors.Join(fmt.Errorf("write the journal: %w", err), j.file.Close())
		}
	}
	begin := uint64(0)
	for _, gap := range gaps {
		if gap[0] > begin { // a gap may be there twice, after two kills at the start
			l.Produced(begin, gap[0]-begin)
		}
		l.MaybeProduced(gap[0], gap[1]-gap[0])
		begin = gap[1]
	}
	if j.done > begin {
		l.Produced(begin, j.done-begin)
	}
	j.next, j.done = j.reserved, j.reserved
	return j, j.write()
}

func readJournal(path string) (j *journal, gaps [][2]uint64, err error) {
	j = &journal{}
	j.file, err = os.OpenFile(path, os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		j.file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		return j, nil, err
	}
	if err != nil {
		return nil, nil, err
	}
	lines := bufio.NewScanner(j.file)
	for first := true; lines.Scan(); first = false {
		var a, b uint64
		if n, err := fmt.Sscanf(strings.TrimSpace(lines.Text()), "%d %d", &a, &b); n != 2 || a > b {
			return nil, nil, errors.Join(fmt.Errorf("line %q is not two ascending numbers (%w): give another data folder", lines.Text(), err), j.file.Close())
		}
		if first {
			j.done, j.reserved = a, b
		} else {
			gaps = append(gaps, [2]uint64{a, b})
		}
	}
	if err := lines.Err(); err != nil {
		return nil, nil, errors.Join(err, j.file.Close())
	}
	return j, gaps, nil
}

// reserve makes sure, before they are used, that numbers below end are never
// used again.
func (j *journal) reserve(end uint64) error {
	if end <= j.reserved {
		return nil
	}
	j.reserved = end + reserveAhead
	return j.write()
}

// produced notes that all numbers below end are in the hubs.
func (j *journal) produced(end uint64) error {
	j.done = end
	return j.write()
}

func (j *journal) write() error {
	if _, err := j.file.WriteAt(fmt.Appendf(nil, journalHead, j.done, j.reserved), 0); err != nil {
		return fmt.Errorf("write the journal of records: %w", err)
	}
	return nil
}

// close gives the reserved numbers back.
func (j *journal) close() error {
	j.reserved = j.done
	return errors.Join(j.write(), j.file.Close())
}
