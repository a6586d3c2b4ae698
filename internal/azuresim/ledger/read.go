package ledger

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const (
	readBufferSize = 1 << 20
	// maxLine bounds the memory of reading; no output of one event is longer.
	maxLine = 64 << 20
)

// IDs returns the numbers of the records that the line mentions, each once, and
// how many texts in it look like our ids but are not. A line may be a raw
// record, a normalized event that holds the record in any nesting or as an
// escaped string, or a whole hub message; records of network traffic are known by
// their ends (see flows). numbers is appended to dst.
func (l *Ledger) IDs(dst []uint64, line []byte) (numbers []uint64, foreign int) {
	numbers = dst
	for id, rest := l.space.Cut(line); id != nil; id, rest = l.space.Cut(rest) {
		if n, ok := l.space.Parse(id); ok {
			numbers = append(numbers, n)
		} else {
			foreign++
		}
	}
	numbers = l.flows(numbers, line)
	if len(numbers) == len(dst) && foreign == 0 {
		numbers = l.normalized(numbers, line)
	}
	own := numbers[len(dst):]
	slices.Sort(own)
	return numbers[:len(dst)+len(slices.Compact(own))], foreign
}

// SeenLine notes the records that the line mentions as arrived, each once.
func (l *Ledger) SeenLine(line []byte) { l.seenLine(nil, line) }

// seenLine is SeenLine with room for the numbers, which it returns for reuse.
func (l *Ledger) seenLine(room []uint64, line []byte) []uint64 {
	numbers, foreign := l.IDs(room[:0], line)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range numbers {
		l.seeLocked(n)
	}
	l.foreign += uint64(foreign)
	if len(numbers) == 0 && foreign == 0 {
		l.noID++
	}
	return numbers
}

// ReadFiles notes the records in files of one event a line, plain or compressed
// with gzip or zstd (told by their first bytes). It reads as a stream. On an
// error, what stood before it has been noted.
func (l *Ledger) ReadFiles(paths ...string) error {
	for _, path := range paths {
		if err := l.readFile(path); err != nil {
			return fmt.Errorf("read output %q: %w", path, err)
		}
	}
	return nil
}

func (l *Ledger) readFile(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	return l.Read(file)
}

// Read is ReadFiles for one stream. A last line without a line feed counts only
// if it is a whole JSON value: a line torn by a crash was not delivered.
func (l *Ledger) Read(r io.Reader) error {
	input := bufio.NewReaderSize(r, readBufferSize)
	lines := input
	// Peek's error is no matter: an empty or short input is not compressed.
	switch magic, _ := input.Peek(4); {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		unzip, err := gzip.NewReader(input)
		if err != nil {
			return fmt.Errorf("read gzip header: %w", err)
		}
		defer unzip.Close()
		lines = bufio.NewReaderSize(unzip, readBufferSize)
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		unzip, err := zstd.NewReader(input, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return fmt.Errorf("read zstd header: %w", err)
		}
		defer unzip.Close()
		lines = bufio.NewReaderSize(unzip, readBufferSize)
	}
	return l.readLines(lines)
}

func (l *Ledger) readLines(input *bufio.Reader) error {
	var long []byte // a line that did not fit into the reader's buffer
	var room []uint64
	for number := 1; ; number++ {
		line, err := input.ReadSlice('\n')
		for long = long[:0]; errors.Is(err, bufio.ErrBufferFull); line, err = input.ReadSlice('\n') {
			if len(long)+len(line) > maxLine {
				return fmt.Errorf("line %d is longer than %d bytes: the file must hold one event a line", number, maxLine)
			}
			long = append(long, line...)
		}
		if len(long) > 0 {
			long = append(long, line...)
			line = long
		}
		switch {
		case err != nil && !errors.Is(err, io.EOF):
			return fmt.Errorf("line %d: %w", number, err)
		case len(bytes.TrimSpace(line)) == 0:
		case err == nil || json.Valid(line):
			room = l.seenLine(room, line)
		}
		if err != nil {
			return nil
		}
	}
}
