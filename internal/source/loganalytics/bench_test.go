package loganalytics

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/lazuli-logs/lazuli/internal/source/window"
)

// BenchmarkAnswer decodes an answer of 10,000 rows of about 1 KB in 40 columns
// into objects with identities.
func BenchmarkAnswer(b *testing.B) {
	var answer bytes.Buffer
	answer.WriteString(`{"tables":[{"name":"PrimaryResult","columns":[`)
	for c := range 40 {
		if c > 0 {
			answer.WriteByte(',')
		}
		fmt.Fprintf(&answer, `{"name":"SomeColumn%d","type":"string"}`, c)
	}
	answer.WriteString(`,{"name":"lazuli_ingested","type":"datetime"}],"rows":[`)
	for r := range 10_000 {
		if r > 0 {
			answer.WriteByte(',')
		}
		answer.WriteByte('[')
		for c := range 40 {
			switch c % 4 {
			case 0:
				fmt.Fprintf(&answer, `"value %d of %d",`, c, r)
			case 1:
				answer.WriteString(`"",`)
			case 2:
				fmt.Fprintf(&answer, `%d,`, r)
			default:
				answer.WriteString(`"{\"key\":\"some text\",\"list\":[1,2]}",`)
			}
		}
		answer.WriteString(`"2026-01-31T08:00:00.1234567Z"]`)
	}
	answer.WriteString(`]}]}`)
	b.SetBytes(int64(answer.Len()))
	b.ReportAllocs()
	for b.Loop() {
		rows := 0
		w := &rowWriter{table: "T_CL", yield: func(window.Row) error { rows++; return nil }}
		if _, err := newDecoder(bytes.NewReader(answer.Bytes())).answer(w); err != nil || rows != 10_000 {
			b.Fatalf("%d rows, %v", rows, err)
		}
	}
}
