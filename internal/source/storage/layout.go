package storage

import (
	"strings"
	"time"
)

// Diagnostic settings and flow logs file blobs by the hour in which Azure
// received the records: <folder>/y=2026/m=01/d=31/h=23/m=00/... Everything before
// the year is the folder, one for each resource: azure:storage.layout

// splitDate cuts the name of a blob, or the beginning of one, into its folder,
// which ends in a slash or is empty, and its hour.
func splitDate(name string) (folder string, hour time.Time, ok bool) {
	for start := 0; ; {
		rest := name[start:]
		if len(rest) >= len("y=2026/m=01/d=31/h=23") && rest[:2] == "y=" {
			if hour, ok := parseHour(rest); ok {
				return name[:start], hour, true
			}
		}
		n := strings.IndexByte(rest, '/')
		if n < 0 {
			return "", time.Time{}, false
		}
		start += n + 1
	}
}

func parseHour(s string) (time.Time, bool) {
	const form = "y=2006/m=01/d=02/h=15"
	if len(s) > len(form) && s[len(form)] != '/' {
		return time.Time{}, false
	}
	t, err := time.Parse(form, s[:len(form)])
	return t, err == nil
}

func hourPath(h time.Time) string { return h.UTC().Format("y=2006/m=01/d=02/h=15/") }

// levels are the date's parts as a listing with a delimiter shows them, and how
// far a time is from the next of its kind.
var levels = [3]struct {
	form string
	next func(time.Time) time.Time
}{
	{"y=2006/", func(t time.Time) time.Time { return t.AddDate(1, 0, 0) }},
	{"m=01/", func(t time.Time) time.Time { return t.AddDate(0, 1, 0) }},
	{"d=02/", func(t time.Time) time.Time { return t.AddDate(0, 0, 1) }},
}

// isYear tells whether a prefix ends in a year: then the folder ends before it.
func isYear(prefix string) (folder string, ok bool) {
	const size = len("y=2026/")
	if len(prefix) < size {
		return "", false
	}
	folder = prefix[:len(prefix)-size]
	if folder != "" && folder[len(folder)-1] != '/' {
		return "", false
	}
	_, err := time.Parse("y=2006/", prefix[len(folder):])
	return folder, err == nil
}

func hourOf(t time.Time) time.Time { return t.UTC().Truncate(time.Hour) }

// matches tells whether a container's name fits a pattern, in which * stands
// for any run of characters.
func matches(pattern, name string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == name
	}
	rest, ok := strings.CutPrefix(name, parts[0])
	if !ok {
		return false
	}
	for _, p := range parts[1 : len(parts)-1] {
		i := strings.Index(rest, p)
		if i < 0 {
			return false
		}
		rest = rest[i+len(p):]
	}
	return strings.HasSuffix(rest, parts[len(parts)-1])
}
