package decode

import (
	"strings"
	"testing"
)

// TestWorkIsLinear gives the decoder what makes naive recovery quadratic, and
// checks the work it did without getting on, which is what may grow.
func TestWorkIsLinear(t *testing.T) {
	for _, tt := range hostile(128 << 10) {
		t.Run(tt.name, func(t *testing.T) {
			var d Decoder
			d.Decode([]byte(tt.payload), func(*Record) {}, func(Bad) {})
			if most := (maxWaste+4)*len(tt.payload) + freeWaste; d.wasted > most {
				t.Errorf("%d bytes were read in vain in a payload of %d, want at most %d", d.wasted, len(tt.payload), most)
			}
		})
	}
}

type hostilePayload struct{ name, payload string }

func hostile(size int) []hostilePayload {
	fill := func(s string) string { return strings.Repeat(s, size/len(s)+1)[:size] }
	return []hostilePayload{
		{"braces", fill(`{`)},
		{"brackets", fill(`[`)},
		{"double quotes", fill(`"`)},
		{"single quotes", fill(`'`)},
		{"brace and quote", fill(`{"`)},
		{"brace and single quote", fill(`{'`)},
		{"names", fill(`{"a":`)},
		{"names, one a line", fill("{\"a\":\n")},
		{"arrays with a number", fill(`[1,`)},
		{"arrays with a number and objects", fill(`[1,{},`)},
		{"strings and braces", fill(`"",{`)},
		{"open members", fill(`{"a":1,`)},
		{"open members, one a line", fill("{\"a\":1,\n")},
		{"open arrays, one a line", fill("{\"a\":[1,\n")},
		{"open strings, one a line", fill("{\"a\":\"\n")},
		{"open wrappers", fill(`{"records":[`)},
		{"wrapper with an open member", fill(`{"records":[],"a":[`)},
		{"wrapper late", fill(`{"a":1,"records":[`)},
		{"other names", fill(`{"a":x,"bb":{"c":y,"dd":`)},
		{"damage after commas", `{"a":x` + fill(`,{"b":[`)},
		{"damage after sound objects", fill(`{"a":x},{"b":1,"c":[`)},
		{"odd quotes", fill(`{"t":"a"b"},`)},
		{"odd quotes, names differ", fill(`{"t":"a"b"},{"u":"c"d"},`)},
		{"long array with an error at its end, again and again", fill(`{"a":[` + strings.Repeat(`1,`, 5000) + `x`)},
		{"blanks", `{"a":x` + fill(` `)},
		{"brackets and blanks, one a line", fill("{\"a\":x\n[" + strings.Repeat(" ", 200) + "\n")},
		{"apostrophes and blanks", `{'a':'` + fill(`'    x`)},
		{"backslashes", `{"a":"` + fill(`\x`)},
		{"line feeds", fill("x\n")},
		{"commas", fill(`,`)},
		{"closing", fill(`}]`)},
	}
}

// BenchmarkHostile shows what a megabyte of each costs: under 50 ms.
func BenchmarkHostile(b *testing.B) {
	for _, tt := range hostile(1 << 20) {
		b.Run(tt.name, func(b *testing.B) {
			payload := []byte(tt.payload)
			b.SetBytes(int64(len(payload)))
			var d Decoder
			for b.Loop() {
				d.Decode(payload, func(*Record) {}, func(Bad) {})
			}
			b.ReportMetric(float64(d.wasted)/float64(len(payload)), "waste")
		})
	}
}
