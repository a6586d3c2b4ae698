package azuresim

import (
	"fmt"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azuresim/ingestion"
	"github.com/lazuli-logs/lazuli/internal/azuresim/recordid"
)

// The streams of the data collection rule, and the tables they lead to.
const (
	IngestionStream          = "Custom-Security_CL"
	IngestionTable           = "Security_CL"
	AuxiliaryIngestionStream = "Custom-SecurityAux_CL"
	AuxiliaryIngestionTable  = "SecurityAux_CL"

	ingestionAudience = "https://monitor.azure.com"
)

// IngestionEndpoints is what a client of the Logs Ingestion API needs to know.
type IngestionEndpoints struct {
	Endpoint        string `json:"endpoint"` // URL of the data collection endpoint
	Rule            string `json:"rule"`     // immutable id
	Stream          string `json:"stream"`
	AuxiliaryStream string `json:"auxiliary_stream"` // leads to an auxiliary table
}

func (s *Sim) makeIngestion() {
	x := recordid.Mix(s.options.Seed ^ 0xdc12)
	e := &s.Endpoints.Ingestion
	e.Rule = fmt.Sprintf("dcr-%016x%016x", x, recordid.Mix(x))
	e.Stream, e.AuxiliaryStream = IngestionStream, AuxiliaryIngestionStream
	s.Ingestion = ingestion.New(ingestion.Options{
		Rules: []ingestion.Rule{{ID: e.Rule, Streams: []ingestion.Stream{
			{Name: IngestionStream, Table: IngestionTable},
			{Name: AuxiliaryIngestionStream, Table: AuxiliaryIngestionTable, Auxiliary: true},
		}}},
		VerifyToken: func(token string) error { return s.Entra.Verify(token, ingestionAudience) },
		Arrived:     s.Ledger.SeenLine,
		KeepBytes:   s.options.RetainBytes,
		Now:         s.options.Now,
	})
}

// ingestionFaults are the faults of the Logs Ingestion API by their names on the
// control surface.
func (s *Sim) ingestionFaults() map[string]fault {
	set := func(f func()) func() (int, error) { return func() (int, error) { f(); return 0, nil } }
	faults := &s.Ingestion.Faults
	return map[string]fault{
		"ingestion": func(p *parameters) func() (int, error) {
			status, n, after := p.number("status", 429), p.number("times", 1), p.duration("retry_after", time.Second)
			if status < 400 || status > 599 {
				p.wrong = append(p.wrong, fmt.Errorf(`"status" is %d: an error has 400 to 599`, status))
			}
			return set(func() { faults.Fail(n, status, after) })
		},
		"ingestion-cut": func(p *parameters) func() (int, error) {
			n := p.number("times", 1)
			return set(func() { faults.Cut(n) })
		},
		"ingestion-deny": func(p *parameters) func() (int, error) {
			on := p.yes("on", true)
			return set(func() { faults.Deny(on) })
		},
		"ingestion-refuse": func(p *parameters) func() (int, error) {
			text := p.text("text", "")
			return set(func() { faults.Refuse(text) })
		},
	}
}
