package eventhubs

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A data directory holds one folder per hub, named like it in lower case: hub.json
// and a folder per partition with a file per segment. A segment file is
//
//	magic, int64 first sequence number, int64 first offset
//	per event: uint32 length of what follows the checksum, uint32 CRC-32C of it,
//	  int64 offset, int64 enqueued, uint32 pairs, uint8 encoded,
//	  uint32 length of the annotations, annotations, body
//
// with big-endian numbers. What a crash left of the last record is cut off.
const (
	segmentMagic      = "lazulieh"
	segmentHeaderSize = len(segmentMagic) + 16
	recordHeaderSize  = 8
	recordFixedSize   = 25
	segmentSuffix     = ".segment"
	hubFile           = "hub.json"
)

type hubDescription struct {
	Name       string     `json:"name"`
	Partitions int        `json:"partitions"`
	Created    time.Time  `json:"created"`
	Options    HubOptions `json:"options"`
}

func (h *Hub) dir() string { return filepath.Join(h.b.opts.DataDir, strings.ToLower(h.name)) }

func (p *partition) dir() string { return filepath.Join(p.hub.dir(), p.id) }

// save writes the description of a new hub; nothing without a DataDir.
func (h *Hub) save() error {
	if h.b.opts.DataDir == "" {
		return nil
	}
	if err := h.erase(); err != nil { // a crash may have left a part of a deleted hub
		return err
	}
	for _, p := range h.partitions {
		if err := os.MkdirAll(p.dir(), 0o755); err != nil {
			return err
		}
	}
	data, err := json.Marshal(hubDescription{h.name, len(h.partitions), h.created, h.opts})
	if err != nil {
		return err
	}
	// The rename makes the hub exist at once or not at all.
	path := filepath.Join(h.dir(), hubFile)
	if err := os.WriteFile(path+".new", data, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// erase deletes the hub's folder. The description goes first: without it, what a
// crash leaves of the rest does not count.
func (h *Hub) erase() error {
	if err := os.Remove(filepath.Join(h.dir(), hubFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.RemoveAll(h.dir())
}

// loadHubs reads all hubs of the data directory, which it creates if it is absent.
func loadHubs(b *Broker) (map[string]*Hub, error) {
	dir := b.opts.DataDir
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("eventhubs: data directory: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("eventhubs: data directory: %w", err)
	}
	hubs := map[string]*Hub{}
	for _, entry := range entries {
		h, err := loadHub(b, filepath.Join(dir, entry.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // a folder without a description: a hub that was never finished
		}
		if err != nil {
			return nil, fmt.Errorf("eventhubs: load %s: %w", filepath.Join(dir, entry.Name()), err)
		}
		hubs[strings.ToLower(h.name)] = h
	}
	return hubs, nil
}

func loadHub(b *Broker, dir string) (*Hub, error) {
	data, err := os.ReadFile(filepath.Join(dir, hubFile))
	if err != nil {
		return nil, err
	}
	var d hubDescription
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, fmt.Errorf("%s: %w", hubFile, err)
	}
	if err := checkHub(d.Name, d.Partitions, d.Options); err != nil {
		return nil, fmt.Errorf("%s: %w", hubFile, err)
	}
	h := newHub(b, d.Name, d.Partitions, d.Options, d.Created)
	for _, p := range h.partitions {
		if err := p.load(); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// load reads the partition's segments. Its folder may be absent.
func (p *partition) load() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	entries, err := os.ReadDir(p.dir())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), segmentSuffix) {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names) // the digits of the first sequence number, zero padded
	for i, name := range names {
		path := filepath.Join(p.dir(), name)
		if err := p.loadSegmentLocked(path, i == 0, i == len(names)-1); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	p.retainLocked(p.hub.b.opts.Now().UnixMilli())
	return nil
}

func (p *partition) loadSegmentLocked(path string, isFirst, isLast bool) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if len(data) < segmentHeaderSize && isLast {
		return os.Remove(path) // a crash came between creating and writing the file
	}
	if len(data) < segmentHeaderSize || string(data[:len(segmentMagic)]) != segmentMagic {
		return errors.New("not a segment file")
	}
	s := &segment{
		first:  int64(binary.BigEndian.Uint64(data[len(segmentMagic):])),
		offset: int64(binary.BigEndian.Uint64(data[len(segmentMagic)+8:])),
	}
	if isFirst {
		p.begin, p.next, p.nextOffset = s.first, s.first, s.offset
	}
	if s.first != p.next {
		return fmt.Errorf("starts at sequence number %d, want %d: a segment file is missing or cut", s.first, p.next)
	}
	rest := data[segmentHeaderSize:]
	var events []event
	var bytes int64
	for {
		e, after, ok := decodeRecord(rest)
		if !ok {
			break
		}
		events, rest = append(events, e), after
		bytes += e.size()
	}
	s.length = int64(len(data) - len(rest))
	if len(rest) > 0 && !isLast {
		return fmt.Errorf("damaged at byte %d", s.length)
	}
	if s.file, err = os.OpenFile(path, os.O_RDWR, 0); err != nil {
		return err
	}
	p.segments = append(p.segments, s)
	if len(rest) > 0 {
		if err := s.file.Truncate(s.length); err != nil {
			return err
		}
	}
	if len(events) > 0 {
		p.addLocked(s, events, bytes)
	}
	return nil
}

func (p *partition) closeFilesLocked() error {
	var errs []error
	for _, s := range p.segments {
		if s.file != nil {
			errs = append(errs, s.file.Close())
			s.file = nil
		}
	}
	return errors.Join(errs...)
}

// create makes the segment's file with its header.
func (s *segment) create(dir string) error {
	f, err := os.Create(filepath.Join(dir, fmt.Sprintf("%020d%s", s.first, segmentSuffix)))
	if err != nil {
		return err
	}
	b := append(make([]byte, 0, segmentHeaderSize), segmentMagic...)
	b = binary.BigEndian.AppendUint64(b, uint64(s.first))
	b = binary.BigEndian.AppendUint64(b, uint64(s.offset))
	if _, err := f.Write(b); err != nil {
		_ = f.Close()
		return err
	}
	s.file, s.length = f, int64(len(b))
	return nil
}

// write appends the events to the file. After an error the file is as before.
func (s *segment) write(events []event) error {
	if s.file == nil {
		return nil
	}
	var b []byte
	for i := range events {
		b = appendRecord(b, &events[i])
	}
	if _, err := s.file.WriteAt(b, s.length); err != nil {
		_ = s.file.Truncate(s.length)
		return err
	}
	s.length += int64(len(b))
	return nil
}

// remove deletes the segment's file. A file that cannot be deleted is only read again.
func (s *segment) remove() {
	if s.file != nil {
		_ = s.file.Close()
		_ = os.Remove(s.file.Name())
		s.file = nil
	}
}

func appendRecord(b []byte, e *event) []byte {
	start := len(b)
	b = append(b, make([]byte, recordHeaderSize)...)
	b = binary.BigEndian.AppendUint64(b, uint64(e.offset))
	b = binary.BigEndian.AppendUint64(b, uint64(e.enqueued))
	b = binary.BigEndian.AppendUint32(b, e.pairs)
	if e.encoded {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(e.annotations)))
	b = append(append(b, e.annotations...), e.body...)
	content := b[start+recordHeaderSize:]
	binary.BigEndian.PutUint32(b[start:], uint32(len(content)))
	binary.BigEndian.PutUint32(b[start+4:], crc32.Checksum(content, crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// decodeRecord reads one record; ok is false where it is not whole. The event
// aliases b.
func decodeRecord(b []byte) (e event, rest []byte, ok bool) {
	if len(b) < recordHeaderSize+recordFixedSize {
		return event{}, b, false
	}
	length := int(binary.BigEndian.Uint32(b))
	if length < recordFixedSize || length > len(b)-recordHeaderSize {
		return event{}, b, false
	}
	content := b[recordHeaderSize : recordHeaderSize+length : recordHeaderSize+length]
	if crc32.Checksum(content, crc32.MakeTable(crc32.Castagnoli)) != binary.BigEndian.Uint32(b[4:]) {
		return event{}, b, false
	}
	e.offset = int64(binary.BigEndian.Uint64(content))
	e.enqueued = int64(binary.BigEndian.Uint64(content[8:]))
	e.pairs = binary.BigEndian.Uint32(content[16:])
	e.encoded = content[20] == 1
	n := int(binary.BigEndian.Uint32(content[21:]))
	if n > length-recordFixedSize {
		return event{}, b, false
	}
	e.annotations = content[recordFixedSize : recordFixedSize+n]
	e.body = content[recordFixedSize+n:]
	return e, b[recordHeaderSize+length:], true
}

// partitionName parses the id of a partition: a decimal number without a sign.
func partitionName(id string) (int, bool) {
	n, err := strconv.ParseUint(id, 10, 16)
	return int(n), err == nil
}
