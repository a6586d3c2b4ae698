package blob

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/lazuli-logs/lazuli/internal/event"
)

const (
	// maxPath and maxValue keep a blob's name under the 1,024 characters that Azure
	// allows, with room for its last part.
	maxPath  = 900
	maxValue = 128
	// absent stands for a value that an event does not have, as Hive, Spark and
	// DuckDB read it.
	absent = "__HIVE_DEFAULT_PARTITION__"
)

func fields() []string {
	return []string{"schema", "log_type", "tenant", "source", "date", "hour"}
}

// path is the folder of a blob, with places for what differs between events.
type path []piece

type piece struct {
	text  string
	field string // "" for text
}

// What needs no escaping in a URL, a shell or an engine's glob.
var pathText = regexp.MustCompile(`^[A-Za-z0-9._=/-]*$`)

func parsePath(s string) (path, error) {
	var p path
	longest, sample := 0, ""
	for rest := s; rest != ""; {
		text, after, open := strings.Cut(rest, "{")
		if !pathText.MatchString(text) {
			return nil, fmt.Errorf("is %q; beside the places in braces it may have letters, digits, '.', '_', '=', '-' and '/'", s)
		}
		if text != "" {
			p = append(p, piece{text: text})
		}
		longest, sample = longest+len(text), sample+text
		if !open {
			break
		}
		field, tail, closed := strings.Cut(after, "}")
		switch {
		case !closed:
			return nil, fmt.Errorf("is %q; a brace is not closed", s)
		case !slices.Contains(fields(), field):
			return nil, fmt.Errorf("is %q; there is no {%s}, only {%s}", s, field, strings.Join(fields(), "}, {"))
		}
		p = append(p, piece{field: field})
		longest, sample = longest+maxValue, sample+"x"
		rest = tail
	}
	for _, part := range strings.Split(sample, "/") {
		// Azure drops a dot at the end of a part, and clients resolve ".." in URLs.
		if part == "" && sample != "" || strings.HasSuffix(part, ".") {
			return nil, fmt.Errorf("is %q; a folder in it is empty or ends with a dot, or it begins or ends with a slash", s)
		}
	}
	if longest > maxPath {
		return nil, fmt.Errorf("may become %d characters long; %d is the most", longest, maxPath)
	}
	return p, nil
}

// append writes the folder of an event.
func (p path) append(dst []byte, e *event.Event) []byte {
	origin := e.Origin
	if origin == nil {
		origin = &event.Origin{}
	}
	for _, piece := range p {
		switch piece.field {
		case "":
			dst = append(dst, piece.text...)
		case "schema":
			dst = appendValue(dst, e.Schema)
		case "log_type":
			dst = appendValue(dst, e.LogType)
		case "tenant":
			dst = appendValue(dst, origin.Tenant)
		case "source":
			dst = appendValue(dst, origin.Source)
		case "date":
			dst = appendTime(dst, e.Time, time.DateOnly)
		case "hour":
			dst = appendTime(dst, e.Time, "15")
		}
	}
	return dst
}

func appendTime(dst []byte, t time.Time, form string) []byte {
	if t.IsZero() {
		return append(dst, absent...)
	}
	return t.UTC().AppendFormat(dst, form)
}

// appendValue writes a value as a part of a path: other characters than letters,
// digits, '.', '_' and '-' become '_'.
func appendValue(dst []byte, value string) []byte {
	if value == "" {
		return append(dst, absent...)
	}
	start := len(dst)
	for _, r := range value {
		if len(dst)-start == maxValue {
			break
		}
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '-',
			r == '.' && len(dst) > start:
			dst = append(dst, byte(r))
		default:
			dst = append(dst, '_')
		}
	}
	if dst[len(dst)-1] == '.' {
		dst[len(dst)-1] = '_'
	}
	return dst
}
