package azuresim

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azuresim/eventhubs"
)

// lostListed is how many lost ids the control surface lists.
const lostListed = 20

// control returns the control surface. Everything is in the URL, and every
// answer is a JSON object; a wrong or unknown parameter is answered with 400.
//
//	GET  /endpoints
//	POST /produce?events=N[&rate=R]     returns when it is done
//	GET  /ledger
//	POST /ledger/check?file=PATH...     balance of output files alone, read anew
//	GET  /ingestion                     what the Logs Ingestion API has taken and refused
//	POST /hubs/recreate?hub=NAME
//	/storage...                         see storageControl
//	POST /faults/NAME?...               see the table in faults
func (s *Sim) control() http.Handler {
	routes := http.NewServeMux()
	handle := func(pattern string, action func(*http.Request, *parameters) (any, error)) {
		routes.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			p := &parameters{given: r.URL.Query(), known: map[string]bool{}}
			answer, err := action(r, p)
			status := http.StatusOK
			switch {
			case errors.Is(err, errParameters):
				status, answer = http.StatusBadRequest, map[string]string{"error": err.Error()}
			case err != nil:
				status, answer = http.StatusInternalServerError, map[string]string{"error": err.Error()}
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			// The client has gone if this fails; there is nobody to tell.
			_ = json.NewEncoder(w).Encode(answer)
		})
	}
	handle("GET /endpoints", func(_ *http.Request, p *parameters) (any, error) { return s.Endpoints, p.check() })
	handle("POST /produce", func(r *http.Request, p *parameters) (any, error) {
		events, rate := p.number("events", -1), p.number("rate", 0)
		if events < 1 {
			p.wrong = append(p.wrong, errors.New(`"events" must be 1 at least`))
		}
		if err := p.check(); err != nil {
			return nil, err
		}
		begin := time.Now()
		produced, err := s.Produce(r.Context(), uint64(events), rate)
		return map[string]any{"produced": produced, "seconds": time.Since(begin).Seconds()}, err
	})
	handle("GET /ledger", func(_ *http.Request, p *parameters) (any, error) {
		return map[string]any{"report": s.Ledger.Report(), "first_lost": s.Ledger.Lost(lostListed), "first_unknown": s.Ledger.Unknown(lostListed)}, p.check()
	})
	handle("POST /ledger/check", func(_ *http.Request, p *parameters) (any, error) {
		files := p.all("file")
		if len(files) == 0 {
			p.wrong = append(p.wrong, errors.New(`"file" is missing`))
		}
		if err := p.check(); err != nil {
			return nil, err
		}
		l := s.Ledger.Fresh()
		err := l.ReadFiles(files...)
		return map[string]any{"report": l.Report(), "first_lost": l.Lost(lostListed), "first_unknown": l.Unknown(lostListed)}, err
	})
	handle("GET /ingestion", func(_ *http.Request, p *parameters) (any, error) { return s.Ingestion.Totals(), p.check() })
	handle("POST /hubs/recreate", func(_ *http.Request, p *parameters) (any, error) {
		name := p.text("hub", s.options.Hubs[0])
		if err := p.check(); err != nil {
			return nil, err
		}
		return map[string]any{"recreated": name}, s.RecreateHub(name)
	})
	s.storageControl(handle)
	handle("POST /faults/{name}", func(r *http.Request, p *parameters) (any, error) {
		faults := s.faults()
		name := r.PathValue("name")
		fault, known := faults[name]
		if !known {
			return nil, fmt.Errorf("%w: there is no fault %q; there are %q", errParameters, name, slices.Sorted(maps.Keys(faults)))
		}
		inject := fault(p)
		if err := p.check(); err != nil {
			return nil, err
		}
		affected, err := inject()
		return map[string]any{"fault": name, "affected": affected}, err
	})
	return onlyLocal(routes)
}

// fault reads its parameters and returns what causes it, which reports how many
// links or connections it hit.
type fault func(*parameters) (inject func() (affected int, err error))

func (s *Sim) faults() map[string]fault {
	broker := s.Broker.Faults()
	const busy = "com.microsoft:server-busy"
	// set is for faults that cannot fail and wait for their occasion.
	set := func(f func()) func() (int, error) { return func() (int, error) { f(); return 0, nil } }
	hit := func(f func() int) func() (int, error) { return func() (int, error) { return f(), nil } }
	hub := func(p *parameters) string { return p.text("hub", s.options.Hubs[0]) }
	partition := func(p *parameters) int { return p.number("partition", eventhubs.AllPartitions) }
	condition := func(p *parameters) (string, string) {
		return p.text("condition", busy), p.text("description", "The service was unable to process the request; please retry the operation.")
	}
	times := func(p *parameters) int { return p.number("times", 1) }
	faults := map[string]fault{
		"clear": func(*parameters) func() (int, error) {
			return set(func() {
				broker.Clear()
				s.Entra.Faults.Clear()
				s.Graph.Faults.Clear()
				s.clearStorageFaults()
				s.Ingestion.Faults.Clear()
			})
		},
		"cut": func(p *parameters) func() (int, error) {
			count := p.number("count", -1)
			return hit(func() int { return broker.CutConnections(count) })
		},
		"detach": func(p *parameters) func() (int, error) {
			name, index := hub(p), partition(p)
			c, d := condition(p)
			return hit(func() int { return broker.DetachReceivers(name, index, c, d) })
		},
		"detach-senders": func(p *parameters) func() (int, error) {
			name := hub(p)
			c, d := condition(p)
			return hit(func() int { return broker.DetachSenders(name, c, d) })
		},
		"refuse-attach": func(p *parameters) func() (int, error) {
			n := times(p)
			c, d := condition(p)
			return set(func() { broker.RefuseAttach(c, d, n) })
		},
		"reject-sends": func(p *parameters) func() (int, error) {
			n := times(p)
			c, d := condition(p)
			return set(func() { broker.RejectSends(c, d, n) })
		},
		"cbs": func(p *parameters) func() (int, error) {
			status, d, n := p.number("status", 500), p.text("description", "simulated"), times(p)
			return set(func() { broker.AnswerCBS(status, d, n) })
		},
		"management": func(p *parameters) func() (int, error) {
			status, d, n := p.number("status", 500), p.text("description", "simulated"), times(p)
			return set(func() { broker.AnswerManagement(status, d, n) })
		},
		"stall": func(p *parameters) func() (int, error) {
			name, index, on := hub(p), partition(p), p.yes("on", true)
			return func() (int, error) { return 0, broker.Stall(name, index, on) }
		},
		"delay": func(p *parameters) func() (int, error) {
			d := p.duration("duration", 0)
			return set(func() { broker.Delay(d) })
		},
		"entra": func(p *parameters) func() (int, error) {
			status, n, after := p.number("status", 429), times(p), p.duration("retry_after", 0)
			if status < 400 || status > 599 {
				p.wrong = append(p.wrong, fmt.Errorf(`"status" is %d: an error has 400 to 599`, status))
			}
			return set(func() { s.Entra.Faults.Fail(n, status, after) })
		},
		"token-lifetime": func(p *parameters) func() (int, error) {
			d := p.duration("duration", 0)
			return set(func() { s.Entra.Faults.SetTokenLifetime(d) })
		},
	}
	maps.Copy(faults, s.graphFaults())
	maps.Copy(faults, s.logsFaults())
	maps.Copy(faults, s.storageFaults())
	maps.Copy(faults, s.ingestionFaults())
	return faults
}

// onlyLocal refuses what a web page in a browser of this machine could send.
func onlyLocal(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		ip := net.ParseIP(host)
		if r.Header.Get("Origin") != "" || (host != "localhost" && (ip == nil || !ip.IsLoopback())) {
			http.Error(w, "only for programs on this machine", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

var errParameters = errors.New("wrong request")

// parameters reads the query of a request and collects what is wrong with it.
type parameters struct {
	given url.Values
	known map[string]bool
	wrong []error
}

func (p *parameters) all(name string) []string {
	p.known[name] = true
	return p.given[name]
}

func (p *parameters) text(name, otherwise string) string {
	if values := p.all(name); len(values) > 0 {
		return values[0]
	}
	return otherwise
}

// needed is text that must be there.
func (p *parameters) needed(name string) string {
	value := p.text(name, "")
	if value == "" {
		p.wrong = append(p.wrong, fmt.Errorf("%q is missing", name))
	}
	return value
}

func (p *parameters) number(name string, otherwise int) int {
	return parse(p, name, otherwise, strconv.Atoi)
}

func (p *parameters) yes(name string, otherwise bool) bool {
	return parse(p, name, otherwise, strconv.ParseBool)
}

func (p *parameters) duration(name string, otherwise time.Duration) time.Duration {
	return parse(p, name, otherwise, time.ParseDuration)
}

func parse[T any](p *parameters, name string, otherwise T, read func(string) (T, error)) T {
	text := p.text(name, "")
	if text == "" {
		return otherwise
	}
	value, err := read(text)
	if err != nil {
		p.wrong = append(p.wrong, fmt.Errorf("%q is %q: not a %T", name, text, value))
	}
	return value
}

// check returns all that is wrong, also parameters that nobody asked for.
func (p *parameters) check() error {
	for _, name := range slices.Sorted(maps.Keys(p.given)) {
		if !p.known[name] {
			p.wrong = append(p.wrong, fmt.Errorf("there is no parameter %q; there are %q", name, slices.Sorted(maps.Keys(p.known))))
		}
	}
	if len(p.wrong) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", errParameters, errors.Join(p.wrong...))
}
