package azuresim

import (
	"fmt"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azuresim/graph"
)

// GraphOptions are about Microsoft Graph. The zero value is usable.
type GraphOptions struct {
	// Roles are the application permissions that the tenant has consented to.
	// Nil: all that reading needs. Another set can be given later, by
	// Entra.Register.
	Roles []string
	// Unlimited turns Graph's documented limits off.
	Unlimited bool
	// Retention of sign-ins and audits; zero: 30 days.
	Retention time.Duration
}

func (o GraphOptions) roles() []string {
	if o.Roles != nil {
		return o.Roles
	}
	return graph.Roles()
}

// graphAudiences are the resources that tokens for Graph are issued for, beside
// the simulator's own address (learn.microsoft.com/graph/deployments).
func graphAudiences() []string {
	return []string{
		"https://graph.microsoft.com", "https://graph.microsoft.us", "https://dod-graph.microsoft.us",
		"https://microsoftgraph.chinacloudapi.cn", "00000003-0000-0000-c000-000000000000",
	}
}

func (s *Sim) makeGraph() {
	s.Graph = graph.New(graph.Options{
		Verify: s.verifyForGraph, Retention: s.options.Graph.Retention, Unlimited: s.options.Graph.Unlimited,
		KeepBytes: s.options.RetainBytes, Now: s.options.Now,
	})
	s.doors[Graph] = graphDoor{s}
}

func (s *Sim) verifyForGraph(token string) (from graph.Caller, err error) {
	for _, audience := range append(graphAudiences(), s.Endpoints.Graph) {
		claims, failed := s.Entra.Claims(token, audience)
		if failed != nil {
			err = failed
			continue
		}
		from.App, _ = claims["appid"].(string)
		roles, _ := claims["roles"].([]any)
		for _, role := range roles {
			from.Roles = append(from.Roles, fmt.Sprint(role))
		}
		return from, nil
	}
	return from, err
}

// graphDoor puts records where Graph shows them.
type graphDoor struct{ s *Sim }

func (d graphDoor) take(records []Record) error {
	for _, r := range records {
		if err := d.s.Graph.Add(r.Category, r.Data); err != nil {
			return err
		}
	}
	return nil
}

// GraphHas reports whether Graph has the records of a category, so that they can
// leave by that door.
func GraphHas(category string) bool { return graph.Has(category) }

// graphFaults are the faults of Graph by their names on the control surface.
func (s *Sim) graphFaults() map[string]fault {
	set := func(f func()) func() (int, error) { return func() (int, error) { f(); return 0, nil } }
	faults := &s.Graph.Faults
	return map[string]fault{
		"graph": func(p *parameters) func() (int, error) {
			status, n, after, paging := p.number("status", 429), p.number("times", 1), p.duration("retry_after", 0), p.yes("paging", false)
			if status < 400 || status > 599 {
				p.wrong = append(p.wrong, fmt.Errorf(`"status" is %d: an error has 400 to 599`, status))
			}
			return set(func() { faults.Fail(n, status, after, paging) })
		},
		"graph-cut": func(p *parameters) func() (int, error) {
			n := p.number("times", 1)
			return set(func() { faults.Cut(n) })
		},
		"graph-links": func(p *parameters) func() (int, error) {
			n, host := p.number("times", 1), p.text("host", "")
			return set(func() {
				if host == "" {
					faults.Loop(n)
				} else {
					faults.Foreign(n, host)
				}
			})
		},
		"graph-tokens": func(p *parameters) func() (int, error) {
			n := p.number("times", 1)
			return set(func() { faults.ExpireTokens(n) })
		},
		"graph-repeat": func(p *parameters) func() (int, error) {
			n := p.number("objects", 1)
			return set(func() { faults.Repeat(n) })
		},
		"graph-late": func(p *parameters) func() (int, error) {
			share, by := p.number("share", 10), p.duration("by", 10*time.Minute)
			return set(func() { faults.Late(share, by) })
		},
		"graph-license": func(p *parameters) func() (int, error) {
			on := p.yes("on", false)
			return set(func() { faults.Unlicensed(!on) })
		},
	}
}
