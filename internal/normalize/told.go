package normalize

import (
	"bytes"
	"strings"

	"github.com/lazuli-logs/lazuli/internal/jsonscan"
)

// told.go notes what an event says of its severity and its dataset while it is
// written: no sink has to look for it in the document.

// tells is what a member says of an event.
type tells uint8

const (
	nothing      tells = iota
	tellsKind          // event.kind of ECS
	tellsResult        // event.outcome of ECS
	tellsLevel         // log.level of ECS
	tellsStatus        // status_id of OCSF, with its caption
	tellsGrade         // severity_id of OCSF, with its caption
	tellsDataset       // event.dataset of ECS
)

type toldBy struct {
	path  string
	tells tells
}

var (
	toldByECS  = []toldBy{{"event.dataset", tellsDataset}, {"event.kind", tellsKind}, {"event.outcome", tellsResult}, {"log.level", tellsLevel}}
	toldByOCSF = []toldBy{{"status_id", tellsStatus}, {"severity_id", tellsGrade}}
)

// markTold marks the members below the root n that say something of the event.
func (n *outNode) markTold(members []toldBy) {
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

// maxTexts bounds what is remembered: a record may have any text.
const maxTexts = 64

// note notes what a member says that has just been written, without a
// comma before it.
func (w *Worker) note(t tells, member []byte) {
	s := &w.severity
	switch t {
	case tellsKind:
		s.Alert = string(member) == `"kind":"alert"`
	case tellsResult:
		s.Failed = string(member) == `"outcome":"failure"`
	case tellsLevel:
		if text, ok := bytes.CutPrefix(member, []byte(`"level":"`)); ok {
			s.Text = w.shared(bytes.TrimSuffix(text, []byte{'"'}))
		}
	case tellsDataset:
		if text, ok := bytes.CutPrefix(member, []byte(`"dataset":"`)); ok {
			w.dataset = w.shared(bytes.TrimSuffix(text, []byte{'"'}))
		}
	case tellsStatus:
		s.Failed = bytes.HasPrefix(member, []byte(`"status":"Failure",`))
	case tellsGrade:
		text, id, _ := bytes.Cut(member, []byte(`","severity_id":`))
		s.ID = 0
		for _, digit := range id {
			s.ID = s.ID*10 + digit - '0'
		}
		s.Text = w.shared(bytes.TrimPrefix(text, []byte(`"severity":"`)))
	}
}

// shared returns a text, of which there are few.
func (w *Worker) shared(escaped []byte) string {
	if text, known := w.texts[string(escaped)]; known {
		return text
	}
	if w.texts == nil || len(w.texts) == maxTexts {
		w.texts = map[string]string{}
	}
	text := string(jsonscan.AppendUnescaped(nil, escaped))
	w.texts[string(escaped)] = text
	return text
}
