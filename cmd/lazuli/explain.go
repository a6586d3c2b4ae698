package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/lazuli-logs/lazuli/internal/normalize"
)

// writeExplanation shows what a record was taken for, and which row of which
// table set each field of its event.
func writeExplanation(out io.Writer, e normalize.Explanation) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "log type\t%s\t%s\n", e.LogType, e.TypePlace)
	if e.Form != "" {
		fmt.Fprintf(w, "form\t%s\t%s\n", e.Form, e.FormPlace)
	}
	kind := "of its position or bytes"
	if e.OwnID {
		kind = "its own"
	}
	fmt.Fprintf(w, "id\t%s\t%s\n", e.ID, kind)
	if !e.Time.IsZero() {
		fmt.Fprintf(w, "time\t%s\n", e.Time.UTC().Format(time.RFC3339Nano))
	}
	if e.Class != "" {
		fmt.Fprintf(w, "class\t%s\n", e.Class)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	w = tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "\nFIELD\tVALUE\tFROM\tROW\n")
	for _, f := range e.Fields {
		row := f.Row
		if row == "" {
			row = "(the schema)"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", f.Name, shortened(f.Value, 48), shortened(f.From, 64), row)
	}
	return w.Flush()
}

// shortened cuts what is too long for a column.
func shortened(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, s)
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	return string([]rune(s)[:limit-1]) + "…"
}
