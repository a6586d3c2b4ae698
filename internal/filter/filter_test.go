package filter

import (
	"errors"
	"strings"
	"testing"

	"github.com/lazuli-logs/lazuli/internal/jsonscan"
)

const record = `{"category":"SignInLogs","resultType":"50126","durationMs":"1200","count":9007199254740993,"level":4,"flag":"True","on":true,
"nothing":null,"properties":{"appDisplayName":"Azure Portal","riskState":"atRisk","a b":1,"x.y":"dotted","roles":["Reader","Owner"],
"targetResources":[{"displayName":"é","modifiedProperties":[{"displayName":"Role.WellKnownObjectName"}]},{"displayName":"second"}]},
"callerIpAddress":"10.1.2.3","addresses":["192.0.2.1","10.9.9.9"]}`

const document = `{"event":{"outcome":"failure"},"source":{"ip":"10.1.2.3"},"related":{"user":["a","b"]}}`

func index(t testing.TB, text string) Document {
	t.Helper()
	x := new(jsonscan.Index)
	if _, err := x.Scan([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return Document{x, 0}
}

func example(t testing.TB) *Event {
	return &Event{
		ID: "1", LogType: "entra_signin", Source: "insights", Tenant: "contoso", TenantID: "7d0c",
		Record: index(t, record), Event: index(t, document),
	}
}

func TestMatch(t *testing.T) {
	in := example(t)
	for text, want := range map[string]bool{
		`log_type == "entra_signin"`:                                      true,
		`log_type != 'storage_read'`:                                      true,
		`log_type in ["a", "entra_signin"]`:                               true,
		`log_type startsWith "entra_" and tenant == "contoso"`:            true,
		`source == "other" or tenant_id == "7d0c"`:                        true,
		`not (source == "insights")`:                                      false,
		`record.category == "SignInLogs"`:                                 true,
		`record["category"] == "SignInLogs"`:                              true,
		`record.properties["a b"] == 1`:                                   true,
		`record.properties["x.y"] == "dotted"`:                            true,
		`record.properties.riskState == "atRisk"`:                         true,
		`record?.properties?.riskState == "atRisk"`:                       true,
		`record.resultType == 50126`:                                      true, // text that holds a number
		`record.resultType == "50126"`:                                    true,
		`record.resultType != "0"`:                                        true,
		`record.durationMs > 1000`:                                        true,
		`record.durationMs > 1200`:                                        false,
		`record.level <= 4`:                                               true,
		`record.level in [3, 4]`:                                          true,
		`record.level in ["4"]`:                                           true,
		`record.count == 9007199254740993`:                                true,
		`record.count == 9007199254740992`:                                false, // a float would say yes
		`record.absent > 5`:                                               false,
		`record.absent < 5`:                                               false,
		`record.absent == "x"`:                                            false,
		`record.absent != "x"`:                                            true,
		`record.absent == nil`:                                            true,
		`record.nothing == nil`:                                           true,
		`record.category != nil`:                                          true,
		`record.category > 5`:                                             false, // text that holds none
		`record.absent.deep.er contains "x"`:                              false,
		`record.properties contains "riskState"`:                          true,
		`"riskState" in record.properties`:                                true,
		`record.properties.roles contains "Owner"`:                        true,
		`"Owner" in record.properties.roles`:                              true,
		`"Owner" in record.category`:                                      false,
		`record.properties.appDisplayName contains "Portal"`:              true,
		`record.properties.appDisplayName matches "^azure"`:               false,
		`record.properties.appDisplayName matches "(?i)^azure"`:           true,
		`lower(record.properties.appDisplayName) startsWith "azure"`:      true,
		`lower(record.absent) == ""`:                                      true,
		`record.flag`:                                                     true,
		`record.on and not record.absent`:                                 true,
		`record.flag ? true : false`:                                      true,
		`record.properties.targetResources[1].displayName == "second"`:    true,
		`record.properties.targetResources[2].displayName == "second"`:    false,
		`any(record.properties.targetResources, .displayName == "é")`:     true,
		`any(record.properties.targetResources, #.displayName == "none")`: false,
		`any(record.absent, # == 1)`:                                      false,
		`all(record.absent, # == 1)`:                                      true,
		`any(record.category, # == "SignInLogs")`:                         true, // a single value is a list of one
		`any(record.properties.targetResources, any(.modifiedProperties, .displayName startsWith "Role."))`: true,
		`count(record.properties.roles, # == "Owner") == 1`:                                                 true,
		`len(record.properties.roles) == 2`:                                                                 true,
		`len(record.absent) == 0`:                                                                           true,
		`len(log_type) > 3`:                                                                                 true,
		`in_cidr(record.callerIpAddress, "192.168.0.0/16", "10.0.0.0/8")`:                                   true,
		`in_cidr(record.addresses, "192.168.0.0/16")`:                                                       false,
		`in_cidr(record.category, "0.0.0.0/0")`:                                                             false,
		`event.event.outcome == "failure"`:                                                                  true,
		`event.source.ip == record.callerIpAddress`:                                                         true,
		`"b" in event.related.user`:                                                                         true,
		`true`:                                                                                              true,
	} {
		p, err := Compile(text)
		if err != nil {
			t.Errorf("Compile(%s): %v", text, err)
			continue
		}
		got, err := p.Evaluator().Match(in)
		if err != nil || got != want {
			t.Errorf("%s = %v, %v; want %v", text, got, err, want)
		}
		if p.NeedsEvent() != strings.Contains(text, "event.") {
			t.Errorf("%s: NeedsEvent() = %v", text, p.NeedsEvent())
		}
	}
}

func TestMistakes(t *testing.T) {
	for text, want := range map[string]string{
		``:                                 "column 1: the expression ends too early",
		`log_type ==`:                      "column 11: the expression ends too early",
		`log_tpe == "x"`:                   "column 1: unknown name log_tpe",
		`log_type > 5`:                     "column 10: invalid operation",
		`log_type`:                         "column 1: the expression gives string, it must give true or false",
		`"x" + 1 == 2`:                     "column 5: invalid operation",
		`record[log_type] == 1`:            "column 8: the name of a field must be written out",
		`record.a[-1] == 1`:                "the name of a field must be written out",
		`record.a matches record.b`:        "column 25: the pattern of matches must be written out as text",
		`record.a matches "("`:             "column 10: error parsing regexp",
		`log_type matches "("`:             "column 10: error parsing regexp",
		`__field(0) == 1`:                  "column 1: unknown name __field",
		`now() > 5`:                        "column 1: unknown name now",
		`é == 1 and log_typ == "x"`:        "column 1: unknown name é",
		`tenant == "é" and log_typ == "x"`: "column 19: unknown name log_typ",
		strings.Repeat("(", 20000):         "may have",
		`in_cidr(1)`:                       "",
	} {
		p, err := Compile(text)
		if want == "" {
			continue
		}
		var mistake *Error
		if !errors.As(err, &mistake) || !strings.Contains(err.Error(), want) {
			t.Errorf("Compile(%.40s) = %v, %v; want %q", text, p, err, want)
		}
	}
}

func TestArithmeticOnWhatIsNoNumberHasNoAnswer(t *testing.T) {
	p, err := Compile(`record.category * 2 > 5`)
	if err != nil {
		t.Fatal(err)
	}
	e := p.Evaluator()
	if got, err := e.Match(example(t)); got || err == nil {
		t.Errorf("Match = %v, %v; want an error", got, err)
	}
	if got, err := e.Match(&Event{Record: index(t, `{"category":3}`)}); !got || err != nil {
		t.Errorf("Match of the next record = %v, %v; want true", got, err)
	}
}

func FuzzCompile(f *testing.F) {
	f.Add(`log_type == "x" and record.a[0].b in [1, "2"]`, `{"a":[{"b":2}]}`)
	f.Add(`any(record.a, .b > 1) or in_cidr(event.source.ip, "10.0.0.0/8")`, `{}`)
	f.Add(`record.a?.b matches "x+" ? len(record) > 1 : record`, `[1]`)
	f.Fuzz(func(t *testing.T, text, document string) {
		p, err := Compile(text)
		if err != nil {
			var mistake *Error
			if !errors.As(err, &mistake) || mistake.Column < 1 {
				t.Fatalf("Compile(%q): %v", text, err)
			}
			return
		}
		x := new(jsonscan.Index)
		if _, err := x.Scan([]byte(document)); err != nil {
			return
		}
		in := &Event{LogType: "a", Record: Document{x, 0}, Event: Document{x, 0}}
		e := p.Evaluator()
		first, err := e.Match(in)
		if second, again := e.Match(in); first != second || (err == nil) != (again == nil) {
			t.Fatalf("%q gives %v, %v and then %v, %v", text, first, err, second, again)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	in := example(b)
	for _, text := range []string{`log_type != "storage_read"`, `record.properties.riskState == "atRisk" and record.resultType != "0"`} {
		b.Run(text, func(b *testing.B) {
			p, err := Compile(text)
			if err != nil {
				b.Fatal(err)
			}
			e := p.Evaluator()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := e.Match(in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
