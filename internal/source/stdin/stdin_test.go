package stdin

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/lazuli-logs/lazuli/internal/source/sourcetest"
)

func newSource(in io.Reader) *Source {
	return New(Deps{Name: sourcetest.Name, Host: "host", In: in, Grace: time.Minute, Now: time.Now})
}

func TestLines(t *testing.T) {
	long := strings.Repeat("x", 3*chunk)
	for name, tc := range map[string]struct {
		in   string
		want []string
	}{
		"lines":             {"{\"a\":1}\n{\"b\":2}\n", []string{`{"a":1}`, `{"b":2}`}},
		"no last line feed": {"a\nb", []string{"a", "b"}},
		"blank lines":       {"\n \na\r\n\n", []string{"a\r"}},
		"nothing":           {"", nil},
		"a long line":       {"a\n" + long + "\nb\n", []string{"a", long, "b"}},
	} {
		for _, in := range []io.Reader{strings.NewReader(tc.in), iotest.OneByteReader(strings.NewReader(tc.in))} {
			if _, slow := in.(*strings.Reader); !slow && len(tc.in) > 1000 {
				continue
			}
			rec := sourcetest.NewRecorder(Forgetful{}, sourcetest.Name)
			if err := sourcetest.Start(t, newSource(in), rec).Result(); err != nil {
				t.Fatalf("%s: Run() = %v", name, err)
			}
			if got := rec.Bodies("stdin"); !slices.Equal(got, tc.want) {
				t.Errorf("%s: %d payloads %.80q, want %.80q", name, len(got), got, tc.want)
			}
			for _, p := range rec.Partition("stdin").Payloads {
				if at := int(p.Position); !strings.HasPrefix(tc.in[at:], string(p.Body)) {
					t.Errorf("%s: payload %.20q does not stand at %d", name, p.Body, at)
				}
			}
		}
	}
}

func TestAStopDeliversWhatWasRead(t *testing.T) {
	r, w := io.Pipe()
	defer w.Close()
	rec := sourcetest.NewRecorder(Forgetful{}, sourcetest.Name)
	running := sourcetest.Start(t, newSource(r), rec)
	if _, err := io.WriteString(w, "a\nb\nhalf"); err != nil {
		t.Fatal(err)
	}
	rec.Wait(t, "two lines", func() bool { return rec.Count("stdin") == 2 })
	if err := running.Stop(); err != nil {
		t.Errorf("Run() = %v, want nil", err)
	}
	if got := rec.Bodies("stdin"); !slices.Equal(got, []string{"a", "b", "half"}) {
		t.Errorf("payloads are %q", got)
	}
	if rec.Partition("stdin").Open {
		t.Error("the stream is open after Run has returned")
	}
}

func TestABrokenInputIsAnError(t *testing.T) {
	broken := errors.New("broken")
	rec := sourcetest.NewRecorder(Forgetful{}, sourcetest.Name)
	err := newSource(io.MultiReader(strings.NewReader("a\n"), iotest.ErrReader(broken))).Run(context.Background(), rec)
	if !errors.Is(err, broken) || rec.Count("stdin") != 1 {
		t.Errorf("Run() = %v with %d payloads; want the error, and the line before it", err, rec.Count("stdin"))
	}
}
