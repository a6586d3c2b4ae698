package stdout

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/sink/sinktest"
)

func TestContract(t *testing.T) {
	sinktest.Run(t, func(*testing.T) sinktest.Harness {
		var out bytes.Buffer
		return sinktest.Harness{Sink: New(&out), Lacks: sinktest.Local(), Received: func(*testing.T) []string {
			return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		}}
	})
}

func TestAnErrorDoesNotStick(t *testing.T) {
	w := &flaky{}
	s := New(w)
	e := []event.Event{{Data: []byte("a")}}
	if err := s.Deliver(t.Context(), e); err == nil {
		t.Fatal("Deliver to a broken output = nil")
	}
	if err := s.Deliver(t.Context(), e); err != nil || w.String() != "a\n" {
		t.Errorf("Deliver after that = %v, wrote %q; want a line", err, w.String())
	}
}

// flaky fails once.
type flaky struct {
	bytes.Buffer
	failed bool
}

func (f *flaky) Write(p []byte) (int, error) {
	if !f.failed {
		f.failed = true
		return 0, errors.New("not now")
	}
	return f.Buffer.Write(p)
}
