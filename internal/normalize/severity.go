package normalize

import (
	"bytes"
	"strings"

	"github.com/lazuli-logs/lazuli/internal/jsonscan"
)

// severity.go notes what an event says of its severity while it is written: no
// sink has to look for it in the document.

// tells is what a member says of an event's severity.
type tells uint8

const (
	nothing     tells = iota
	tellsKind         // event.kind of ECS
	tellsResult       // event.outcome of ECS
	tellsLevel        // log.level of ECS
	tellsStatus       // status_id of OCSF, with its caption
	tellsGrade        // severity_id of OCSF, with its caption
)

type toldBy struct {
	path  string
	tells tells
}

var (
	ecsSeverity  = []toldBy{{"event.kind", tellsKind}, {"event.outcome", tellsResult}, {"log.level", tellsLevel}}
	ocsfSeverity = []toldBy{{"status_id", tellsStatus}, {"severity_id", tellsGrade}}
)

// tellSeverity marks the members below the root n that say something of it.
func (n *outNode) tellSeverity(members []toldBy) {
	for _, m := range members {
		at := n
		for name := range strings.SplitSeq(m.path, ".") {
			if at = at.member(name); at == nil {
				break
			}
		}
		if at != nil {
			at.tells = m.tells
		}
	}
}

// maxLevels bounds what is remembered of levels: a record may have any text.
const maxLevels = 64

// noteSeverity notes what a member says that has just been written, without a
// comma before it.
func (w *Worker) noteSeverity(t tells, member []byte) {
	s := &w.severity
	switch t {
	case tellsKind:
		s.Alert = string(member) == `"kind":"alert"`
	case tellsResult:
		s.Failed = string(member) == `"outcome":"failure"`
	case tellsLevel:
		if text, ok := bytes.CutPrefix(member, []byte(`"level":"`)); ok {
			s.Text = w.level(bytes.TrimSuffix(text, []byte{'"'}))
		}
	case tellsStatus:
		s.Failed = bytes.HasPrefix(member, []byte(`"status":"Failure",`))
	case tellsGrade:
		text, id, _ := bytes.Cut(member, []byte(`","severity_id":`))
		s.ID = 0
		for _, digit := range id {
			s.ID = s.ID*10 + digit - '0'
		}
		s.Text = w.level(bytes.TrimPrefix(text, []byte(`"severity":"`)))
	}
}

// level returns the text of a severity, of which there are few.
func (w *Worker) level(escaped []byte) string {
	if text, known := w.levels[string(escaped)]; known {
		return text
	}
	if w.levels == nil || len(w.levels) == maxLevels {
		w.levels = map[string]string{}
	}
	text := string(jsonscan.AppendUnescaped(nil, escaped))
	w.levels[string(escaped)] = text
	return text
}
