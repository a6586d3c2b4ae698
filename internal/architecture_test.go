// Package internal_test holds the rules about who may import whom.
package internal_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"strings"
	"testing"
)

const module = "github.com/lazuli-logs/lazuli/"

// rule is about the packages that match of and not except. They may import
// packages of this module only if these match own, and packages outside the
// module and the standard library only if these do not match foreign.
// Patterns are those of path.Match; one that ends in "..." is a prefix.
type rule struct {
	why     string
	of      []string
	except  []string
	own     []string
	foreign []string
}

const everything = "..."

var contract = []string{"internal/event", "internal/checkpoint", "internal/config", "internal/azure", "internal/status"}

var rules = []rule{
	{
		why:     "data and counting need nothing but the standard library",
		of:      []string{"internal/event", "internal/ack", "internal/budget", "internal/jsonscan", "internal/status", "internal/durable"},
		foreign: []string{everything},
	},
	{
		why: "conditions and redaction read indexed documents", of: []string{"internal/filter", "internal/redact"},
		own: []string{"internal/jsonscan"}, foreign: []string{"net", "net/http", "os"},
	},
	{why: "decode cuts bytes", of: []string{"internal/decode"}, own: []string{"internal/jsonscan"}, foreign: []string{"net...", "os"}},
	{
		why: "normalize is pure", of: []string{"internal/normalize"},
		own: []string{"internal/event", "internal/jsonscan", "internal/decode", "internal/normalize/ocsf"}, foreign: []string{"net", "net/http", "os"},
	},
	{why: "dead letters know no component", of: []string{"internal/deadletter"}, own: []string{"internal/event", "internal/durable"}},
	{why: "the configuration knows no component", of: []string{"internal/config"}},
	{
		why: "a source knows only its contract", of: []string{"internal/source/*"}, except: []string{"internal/source/sourcetest"},
		own: append([]string{"internal/source", "internal/source/window", "internal/source/*/...", "internal/jsonscan"}, contract...),
	},
	{
		why: "a sink knows only its contract", of: []string{"internal/sink/*"}, except: []string{"internal/sink/sinktest"},
		own: append([]string{"internal/sink", "internal/sink/httpsink", "internal/sink/*/*", "internal/durable", "internal/jsonscan"}, contract...),
	},
	{
		why: "the runners know no component", of: []string{"internal/source", "internal/sink"},
		own: append([]string{"internal/ack", "internal/budget", "internal/deadletter", "internal/telemetry"}, contract...),
	},
	{
		why: "only the runners and the pipeline touch ack, and the pipeline knows no component", of: []string{"internal/pipeline"},
		own: append([]string{
			"internal/ack", "internal/budget", "internal/deadletter", "internal/telemetry", "internal/decode", "internal/normalize",
			"internal/source", "internal/sink", "internal/filter", "internal/redact", "internal/jsonscan",
		}, contract...),
	},
	{
		why: "only the component table knows every component", of: []string{"internal/component"},
		own: append([]string{"internal/source...", "internal/sink...", "internal/checkpoint...", "internal/pipeline", "internal/telemetry", "internal/filter"}, contract...),
	},
	{why: "the simulator and the product cannot share a mistake", of: []string{"internal/azuresim..."}, own: []string{"internal/azuresim..."}},
	{
		why: "Azure's SDK stays in sources, checkpoints, the sinks that lead to Azure and internal/azure", of: []string{everything},
		except:  []string{"internal/azure", "internal/source/*", "internal/sink/azuremonitor", "internal/sink/blob", "internal/checkpoint/*", "internal/component", "internal/azuresim...", "e2e..."},
		own:     []string{everything},
		foreign: []string{"github.com/Azure..."},
	},
}

func matchesAny(patterns []string, pkg string) bool {
	for _, p := range patterns {
		if prefix, ok := strings.CutSuffix(p, "..."); ok {
			if strings.HasPrefix(pkg, prefix) {
				return true
			}
		} else if ok, _ := path.Match(p, pkg); ok {
			return true
		}
	}
	return false
}

func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "../...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	decoder := json.NewDecoder(strings.NewReader(string(out)))
	checked := make([]int, len(rules))
	for {
		var pkg struct {
			ImportPath string
			Imports    []string
		}
		if err := decoder.Decode(&pkg); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		from := strings.TrimPrefix(pkg.ImportPath, module)
		for i, r := range rules {
			if !matchesAny(r.of, from) || matchesAny(r.except, from) {
				continue
			}
			checked[i]++
			for _, imported := range pkg.Imports {
				name, own := strings.CutPrefix(imported, module)
				outside := strings.Contains(strings.Split(imported, "/")[0], ".")
				switch {
				case own && !matchesAny(r.own, name),
					!own && outside && matchesAny(r.foreign, imported),
					!own && !outside && matchesAny(without(r.foreign, everything), imported):
					t.Errorf("%s imports %s, but %s", from, imported, r.why)
				}
			}
		}
	}
	for i, r := range rules {
		if checked[i] == 0 {
			t.Errorf("no package is %v: the rule that %s checks nothing", r.of, r.why)
		}
	}
}

// without returns the patterns but one: "everything foreign" does not mean the
// standard library.
func without(patterns []string, one string) (rest []string) {
	for _, p := range patterns {
		if p != one {
			rest = append(rest, p)
		}
	}
	return rest
}
