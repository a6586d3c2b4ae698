package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/lazuli-logs/lazuli/internal/deadletter"
	"github.com/lazuli-logs/lazuli/internal/decode"
	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/jsonscan"
	"github.com/lazuli-logs/lazuli/internal/normalize"
)

type normalizeCommand struct {
	Schema      string   `required:"" enum:"raw,ecs,ocsf" placeholder:"raw|ecs|ocsf" help:"What the events look like."`
	Mapping     []string `placeholder:"FILE" help:"A mapping file of your own; may be repeated."`
	GeoCity     string   `placeholder:"FILE" help:"A database of places (.mmdb) for source.geo and the like."`
	GeoASN      string   `name:"geo-asn" placeholder:"FILE" help:"A database of networks (.mmdb) for source.as and the like."`
	DeadLetters string   `placeholder:"FILE" help:"Write what could not be read to this file, as dead letters."`
	Strict      bool     `help:"Exit with status 1 if anything could not be read."`
	Explain     bool     `help:"Show for one record, instead of its event, which row of which mapping table set each field."`
	Record      int      `default:"1" placeholder:"N" help:"Explain this record of the input; the first if not given."`
	Files       []string `arg:"" optional:"" name:"FILE" help:"Files in any form Azure writes, gzip too; none or - is standard input."`
}

// Help is shown by lazuli normalize --help.
func (normalizeCommand) Help() string {
	return `One event a line on standard output, in the order of the input. Every byte of the input is part of an event or of a dead letter; the last line on standard error counts both.

Example:
  lazuli normalize --schema ecs PT1H.json | head -1
  az storage blob download ... | lazuli normalize --schema raw
  lazuli normalize --schema ecs --explain --record 3 PT1H.json

The rows that --explain names are in internal/normalize/mappings of Lazuli's source, or in your own mapping files.`
}

// Run implements the command.
func (n *normalizeCommand) Run(t terminal) error {
	if n.Explain && n.Schema == string(normalize.Raw) {
		return &usageError{errors.New("--explain with --schema raw: a raw event is the record itself, no table sets its fields; choose ecs or ocsf")}
	}
	options := normalize.DefaultOptions()
	var err error
	if options.Files, err = readMappings(n.Mapping, n.Schema); err != nil {
		return err
	}
	if options.Locator, err = openLocator(n.GeoCity, n.GeoASN); err != nil {
		return err
	}
	mapper, err := normalize.Compile(normalize.Schema(n.Schema), options)
	if err != nil {
		return err
	}
	job := &normalizeJob{worker: mapper.Worker(), err: t.err, out: bufio.NewWriterSize(t.out, 1<<20)}
	if n.Explain {
		job.explain = n.Record
	}
	if n.DeadLetters != "" {
		f, err := os.Create(n.DeadLetters)
		if err != nil {
			return err
		}
		defer f.Close()
		job.letters = json.NewEncoder(f)
	}
	if len(n.Files) == 0 {
		n.Files = []string{"-"}
	}
	for _, name := range n.Files {
		if err := job.file(t.in, name); err != nil {
			return errors.Join(err, job.out.Flush())
		}
	}
	if err := job.out.Flush(); err != nil {
		return err
	}
	if n.Explain && job.events < n.Record {
		return fmt.Errorf("explain record %d: the input has %d records; --record counts from 1", n.Record, job.events)
	}
	fmt.Fprintf(t.err, "events %d, dead letters %d\n", job.events, job.bad)
	if n.Strict && job.bad > 0 {
		return errReported
	}
	return nil
}

type normalizeJob struct {
	decoder decode.Decoder
	worker  *normalize.Worker
	line    []byte
	out     *bufio.Writer
	err     io.Writer
	letters *json.Encoder // nil: they are only reported
	explain int           // number of the record to explain, from 1; 0: write events
	events  int
	bad     int
	failed  error // the first failure to write
}

func (j *normalizeJob) file(stdin io.Reader, name string) error {
	in := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	text, err := gunzip(in)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	var offset int64
	err = eachPayload(text, func(payload []byte) error {
		j.payload(name, payload, offset)
		offset += int64(len(payload))
		return j.failed
	})
	if text.damage != nil {
		j.unreadable(name, offset, decode.Bad{Class: decode.ClassGzip, Reason: "the gzip data is damaged here: " + text.damage.Error()})
	}
	return err
}

// text is what a file holds, decompressed. Damaged gzip data ends it early.
type text struct {
	io.Reader
	damage error
}

// gunzip returns the content of in, which may be gzipped. A payload of gzip is
// the decoder's to read, but a file may be larger than a payload can be.
func gunzip(in io.Reader) (*text, error) {
	r := bufio.NewReaderSize(in, 64<<10)
	head, err := r.Peek(4096)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if _, err := gzip.NewReader(bytes.NewReader(head)); err != nil {
		return &text{Reader: r}, nil // not gzip, or not even its header is whole
	}
	unzip, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	return &text{Reader: unzip}, nil
}

// Read implements io.Reader.
func (t *text) Read(p []byte) (int, error) {
	n, err := t.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		if _, zipped := t.Reader.(*gzip.Reader); zipped {
			t.damage, err = err, io.EOF
		}
	}
	return n, err
}

// shownBad is how many unreadable pieces are reported one by one.
const shownBad = 10

func (j *normalizeJob) payload(name string, payload []byte, offset int64) {
	record := func(r *decode.Record) {
		in := normalize.Input{Index: r.Index, Node: r.Node, Raw: r.Raw, Number: r.Number}
		if r.Repairs != 0 {
			in.Repairs = strings.Split(r.Repairs.String(), ",")
		}
		if j.events++; j.explain > 0 {
			if j.events == j.explain {
				j.keep(0, writeExplanation(j.out, j.worker.Explain(in)))
			}
			return
		}
		j.line, _ = j.worker.Append(j.line[:0], in)
		j.keep(j.out.Write(append(j.line, '\n')))
	}
	bad := func(b decode.Bad) { j.unreadable(name, offset, b) }
	j.decoder.Decode(payload, record, bad)
}

// unreadable counts a piece of the payload at offset, and reports the first ones.
func (j *normalizeJob) unreadable(name string, offset int64, b decode.Bad) {
	if j.bad++; j.bad <= shownBad {
		fmt.Fprintf(j.err, "%s: byte %d: %s: %s (%d bytes)\n", name, offset+int64(b.Offset), b.Class, b.Reason, len(b.Raw))
	} else if j.bad == shownBad+1 {
		fmt.Fprintln(j.err, "more that could not be read is only counted")
	}
	if j.letters != nil {
		l := deadletter.FromPayload(&event.Origin{Source: name}, offset, b.Offset, b.Raw, b.Class, b.Reason)
		l.Time = time.Now().UTC()
		j.keep(0, j.letters.Encode(l))
	}
}

func (j *normalizeJob) keep(_ int, err error) {
	if j.failed == nil {
		j.failed = err
	}
}

// blockSize is how much of a file of lines is decoded at a time.
const blockSize = 8 << 20

// eachPayload cuts in into payloads. A file of one record a line, which may be
// of any size, is cut at line ends; anything else is one payload.
func eachPayload(in io.Reader, yield func([]byte) error) error {
	r := bufio.NewReaderSize(in, blockSize)
	head, err := r.Peek(blockSize)
	if errors.Is(err, io.EOF) || !isLines(head) {
		whole, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		return yield(whole)
	}
	for {
		block := make([]byte, blockSize)
		n, err := io.ReadFull(r, block)
		block = block[:n]
		atEnd := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !atEnd {
			return err
		}
		if !atEnd {
			rest, err := r.ReadBytes('\n')
			if err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			block = append(block, rest...)
		}
		if len(block) > 0 {
			if err := yield(block); err != nil {
				return err
			}
		}
		if atEnd {
			return nil
		}
	}
}

// isLines tells whether the first line of head is a whole JSON value, so that
// cutting at line ends cuts no record.
func isLines(head []byte) bool {
	line, _, found := bytes.Cut(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")), []byte("\n"))
	var x jsonscan.Index
	n, err := x.Scan(line)
	return found && err == nil && len(bytes.TrimSpace(line[n:])) == 0
}
