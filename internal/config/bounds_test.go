package config

import (
	"strings"
	"testing"
)

func TestHostileDocumentsAreRefusedQuickly(t *testing.T) {
	for _, tc := range []struct{ name, src, want string }{
		{name: "too large", src: strings.Repeat("#\n", 1<<19) + "a", want: "config.yaml:1:1: the document has 1048577 bytes; it may have 1048576; fix: split it into several instances"},
		{name: "brackets", src: "sources: " + strings.Repeat("[", 1<<19), want: "config.yaml:1:1: the document is nested too deep; fix: remove brackets"},
		{name: "braces", src: strings.Repeat("{a: ", 1<<17), want: "config.yaml:1:1: the document is nested too deep; fix: remove brackets"},
		{name: "dashes", src: strings.Repeat("- ", 1<<18), want: "config.yaml:1:1: the document is nested too deep; fix: remove brackets"},
		{name: "not UTF-8", src: "log:\n  level: \xff\n", want: "config.yaml:2:1: the line is not UTF-8; fix: save the file as UTF-8"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Load("config.yaml", []byte(tc.src), FakeCatalog(), Environment{})
			if err == nil || err.Error() != tc.want {
				t.Errorf("error = %v\nwant    %s", err, tc.want)
			}
		})
	}
}

func TestByteOrderMarkAndWindowsLineEnds(t *testing.T) {
	src := "\ufeffsources:\n  entra:\n    type: hub\n    hub: insights\n    connection_string: ${env:HUB}\nsinks: {out: {type: disk, path: out}}\n"
	cfg, err := load(t, strings.ReplaceAll(src, "\n", "\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got := cfg.Sources[0].Settings.(*hubSource).Hub; got != "insights" {
		t.Errorf("hub = %q, want insights", got)
	}
}
