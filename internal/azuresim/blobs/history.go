package blobs

import (
	"fmt"
	"io"
	"sort"
	"strings"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azuresim/recordid"
)

// History is what a container held long before: blobs whose names and bodies
// follow from a rule, so that a million of them take no memory. They can be
// listed, read, changed and deleted like others.
type History struct {
	// Prefixes are what the blobs' paths begin with, up to "y=", in ascending
	// order: one for each resource.
	Prefixes []string
	// Suffix is what follows "m=00/"; empty: PT1H.json.
	Suffix string
	// From is the first hour; it is cut to one. There is one blob an hour.
	From  time.Time
	Hours int
	// Line is what every blob holds, Lines times (0: once), with a line feed;
	// "{time}" in it becomes the hour.
	Line  string
	Lines int
}

// empty reports whether there is no history.
func (h *History) empty() bool { return h == nil || h.Len() == 0 }

// Len is how many blobs there are.
func (h *History) Len() int { return len(h.Prefixes) * h.Hours }

// hour returns when blob i began.
func (h *History) hour(i int) time.Time {
	return h.From.UTC().Truncate(time.Hour).Add(time.Duration(i%h.Hours) * time.Hour)
}

// Name returns the name of blob i; they ascend.
func (h *History) Name(i int) string {
	return HourPath(h.Prefixes[i/h.Hours], h.hour(i), orElse(h.Suffix, HourFile))
}

// HourFile is the last part of the name of an hour's blob.
const HourFile = "PT1H.json"

// HourPath returns the name of the blob that Azure archives an hour's logs in:
// the prefix, the hour, and what follows "m=00/".
func HourPath(prefix string, hour time.Time, suffix string) string {
	path := append(make([]byte, 0, len(prefix)+len(suffix)+32), prefix...)
	path = hour.UTC().AppendFormat(path, "y=2006/m=01/d=02/h=15/")
	return string(append(append(path, "m=00/"...), suffix...))
}

// index returns which blob has this name.
func (h *History) index(name string) (int, bool) {
	n := h.Len()
	i := sort.Search(n, func(i int) bool { return h.Name(i) >= name })
	return i, i < n && h.Name(i) == name
}

func (h *History) line(i int) string {
	return strings.ReplaceAll(h.Line, "{time}", h.hour(i).Format("2006-01-02T15:04:05.0000000Z")) + "\n"
}

// state makes blob i up.
func (h *History) state(i int) state {
	hour := h.hour(i)
	s := state{
		name: h.Name(i), kind: AppendBlob, created: hour, modified: hour.Add(time.Hour), appended: max(h.Lines, 1),
		etag: fmt.Sprintf("0x8D%013X", recordid.Mix(uint64(i))>>12), headers: headers{contentType: defaultType},
	}
	line := h.line(i)
	s.content.size = int64(len(line) * max(h.Lines, 1))
	s.content.segments = []segment{{size: s.content.size, source: repeated(line)}}
	return s
}

// repeated is a text without an end.
type repeated string

// ReadAt implements io.ReaderAt.
func (r repeated) ReadAt(p []byte, at int64) (n int, err error) {
	for n < len(p) {
		n += copy(p[n:], r[(at+int64(n))%int64(len(r)):])
	}
	return n, nil
}

var _ io.ReaderAt = repeated("")

// historical returns which blob of the history, hidden ones aside, has this name.
func (c *container) historical(name string) (int, bool) {
	if c.history.empty() {
		return 0, false
	}
	i, known := c.history.index(name)
	if _, hidden := c.hidden[i]; hidden {
		return 0, false
	}
	return i, known
}
