package config

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
)

func TestSecretIsNotShown(t *testing.T) {
	type settings struct {
		Key  Secret
		Keys []Secret
	}
	v := settings{Key: "hunter2", Keys: []Secret{"hunter2"}}
	asJSON, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{
		fmt.Sprint(v), fmt.Sprintf("%v %+v %#v %s %q", v, v, v, v.Key, v.Key), string(asJSON),
	} {
		if strings.Contains(shown, "hunter2") || !strings.Contains(shown, "[redacted]") {
			t.Errorf("printed %s", shown)
		}
	}
	if got := v.Key.Reveal(); got != "hunter2" {
		t.Errorf("Reveal = %q", got)
	}
	if got := Secret("").String(); got != "" {
		t.Errorf("an empty secret prints as %q; one must see that it is not set", got)
	}
}

func TestDuration(t *testing.T) {
	for _, tc := range []struct {
		text    string
		want    time.Duration
		shown   string
		wantErr bool
	}{
		{text: "500ms", want: 500 * time.Millisecond, shown: "500ms"},
		{text: "30s", want: 30 * time.Second, shown: "30s"},
		{text: "90s", want: 90 * time.Second, shown: "1m30s"},
		{text: "5m", want: 5 * time.Minute, shown: "5m"},
		{text: "60m", want: time.Hour, shown: "1h"},
		{text: "1h0m5s", want: time.Hour + 5*time.Second, shown: "1h0m5s"},
		{text: "7d", want: 7 * 24 * time.Hour, shown: "7d"},
		{text: "0.5d", want: 12 * time.Hour, shown: "12h"},
		{text: "48h", want: 48 * time.Hour, shown: "2d"},
		{text: "0s", want: 0, shown: "0s"},
		{text: "0", want: 0, shown: "0s"},
		{text: "-5s", want: -5 * time.Second, shown: "-5s"}, // refused by the loader
		{text: "30", wantErr: true},
		{text: "", wantErr: true},
		{text: "d", wantErr: true},
		{text: "-1d", wantErr: true},
		{text: "NaNd", wantErr: true},
		{text: "200000d", wantErr: true},
		{text: "5 m", wantErr: true},
	} {
		t.Run(tc.text, func(t *testing.T) {
			var d Duration
			err := d.UnmarshalText([]byte(tc.text))
			if (err != nil) != tc.wantErr {
				t.Fatalf("UnmarshalText = %v, want error %v", err, tc.wantErr)
			}
			if err != nil {
				return
			}
			if d.Std() != tc.want || d.String() != tc.shown {
				t.Errorf("read %v, shown as %q; want %v, %q", d.Std(), d, tc.want, tc.shown)
			}
			var again Duration
			if err := again.UnmarshalText([]byte(d.String())); err != nil || again != d {
				t.Errorf("%q read again is %v, error %v", d, again, err)
			}
		})
	}
}

func TestSize(t *testing.T) {
	for _, tc := range []struct {
		text    string
		want    Size
		shown   string
		wantErr bool
	}{
		{text: "64MiB", want: 64 << 20, shown: "64MiB"},
		{text: "64 MiB", want: 64 << 20, shown: "64MiB"},
		{text: "1.5GiB", want: 3 << 29, shown: "1536MiB"},
		{text: "500KB", want: 500_000, shown: "500000B"},
		{text: "2MB", want: 2_000_000, shown: "2000000B"},
		{text: "1024", want: 1024, shown: "1KiB"},
		{text: "0", want: 0, shown: "0B"},
		{text: "7B", want: 7, shown: "7B"},
		{text: "1PiB", wantErr: true},
		{text: "2000TiB", wantErr: true},
		{text: "-1", wantErr: true},
		{text: "NaN", wantErr: true},
		{text: "inf", wantErr: true},
		{text: "64Mb", wantErr: true},
		{text: "MiB", wantErr: true},
		{text: "", wantErr: true},
	} {
		t.Run(tc.text, func(t *testing.T) {
			s := Size(math.MinInt64)
			err := s.UnmarshalText([]byte(tc.text))
			if (err != nil) != tc.wantErr {
				t.Fatalf("UnmarshalText = %v, want error %v", err, tc.wantErr)
			}
			if err != nil {
				return
			}
			if s != tc.want || s.String() != tc.shown {
				t.Errorf("read %d, shown as %q; want %d, %q", int64(s), s, int64(tc.want), tc.shown)
			}
		})
	}
}

func TestRedactor(t *testing.T) {
	var r redactor
	r.hideSecret("Endpoint=sb://contoso/;SharedAccessKeyName=lazuli;SharedAccessKey=aGVsbG8gd29ybGQ=")
	r.hideSecret("https://account/?sv=2025&sig=abc%2Fdefgh&se=2027")
	r.hideSecret("short")
	r.hideSecret("with \"quotes\" and\nlines")
	r.hide("eu-from-env", "${env:REGION}")
	for _, tc := range []struct{ name, in, want string }{
		{name: "a whole secret", in: `is "Endpoint=sb://contoso/;SharedAccessKeyName=lazuli;SharedAccessKey=aGVsbG8gd29ybGQ=" here`, want: `is [redacted] here`},
		{name: "the key of a connection string", in: `key aGVsbG8gd29ybGQ= is not base64`, want: `key [redacted] is not base64`},
		{name: "the endpoint may be shown", in: `host sb://contoso/ is unknown`, want: `host sb://contoso/ is unknown`},
		{name: "the signature of a URL", in: `bad signature abc%2Fdefgh`, want: `bad signature [redacted]`},
		{name: "a short secret in quotes", in: `is "short"; shorter is not`, want: `is [redacted]; shorter is not`},
		{name: "a quoted secret with escapes", in: fmt.Sprintf("is %q", "with \"quotes\" and\nlines"), want: `is [redacted]`},
		{name: "a part of a quoted text", in: fmt.Sprintf("is %q", "see with \"quotes\" and\nlines!"), want: `is "see [redacted]!"`},
		{name: "a reference is shown as such", in: `is "eu-from-env"`, want: `is ${env:REGION}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := r.replacer().Replace(tc.in); got != tc.want {
				t.Errorf("shown as %q, want %q", got, tc.want)
			}
		})
	}
}

// TestTextYAML reads each text again as YAML would.
func TestTextYAML(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{text: "earliest", want: "earliest"},
		{text: "$Default", want: "$Default"},
		{text: "127.0.0.1:9464", want: "127.0.0.1:9464"},
		{text: "/var/lib/lazuli data", want: "/var/lib/lazuli data"},
		{text: "", want: `""`},
		{text: "no", want: `"no"`},
		{text: "1e3", want: `"1e3"`},
		{text: "~", want: `"~"`},
		{text: "a: b", want: `"a: b"`},
		{text: "a:", want: `"a:"`},
		{text: "a #b", want: `"a #b"`},
		{text: "*", want: `"*"`},
		{text: "- a", want: `"- a"`},
		{text: "? a", want: `"? a"`},
		{text: " a", want: `" a"`},
		{text: "a\nb", want: `"a\nb"`},
		{text: `a"b\c`, want: `"a\"b\\c"`},
	} {
		t.Run(tc.text, func(t *testing.T) {
			got := textYAML(tc.text)
			if got != tc.want {
				t.Errorf("textYAML = %s, want %s", got, tc.want)
			}
			var back map[string]any
			if err := yaml.Unmarshal([]byte("k: "+got+"\n"), &back); err != nil || back["k"] != tc.text {
				t.Errorf("read again: %#v, error %v, want %q", back["k"], err, tc.text)
			}
		})
	}
}

func TestSuggest(t *testing.T) {
	options := []string{"hub", "consumer_group", "start", "ecs", "warn"}
	for _, tc := range []struct{ word, want string }{
		{word: "consumer-group", want: `did you mean "consumer_group"?`},
		{word: "ConsumerGroup", want: `did you mean "consumer_group"?`},
		{word: "strat", want: `did you mean "start"?`},
		{word: "sta", want: `did you mean "start"?`},
		{word: "huub", want: `did you mean "hub"?`},
		{word: "starts", want: `did you mean "start"?`},
		{word: "warning", want: `did you mean "warn"?`},
		{word: "consumer", want: `did you mean "consumer_group"?`},
		{word: "ocsf", want: "other"},
		{word: "x", want: "other"},
		{word: "", want: "other"},
		{word: strings.Repeat("x", 1000), want: "other"},
	} {
		t.Run(tc.word[:min(20, len(tc.word))], func(t *testing.T) {
			if got := suggest(tc.word, options, "other"); got != tc.want {
				t.Errorf("suggest(%q) = %q, want %q", tc.word, got, tc.want)
			}
		})
	}
}
