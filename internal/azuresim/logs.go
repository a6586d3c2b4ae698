package azuresim

import (
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/lazuli-logs/lazuli/internal/azuresim/logs"
	"github.com/lazuli-logs/lazuli/internal/azuresim/recordid"
)

// LogsOptions are about the Log Analytics workspace. The zero value is usable.
type LogsOptions struct {
	// MaxRows and MaxBytes bound an answer; zero: Azure's limits.
	MaxRows  int
	MaxBytes int64
	// Unlimited turns off how many queries there may be.
	Unlimited bool
	// Forbidden takes the role on the workspace from the application.
	Forbidden bool
	// BasicTables are of the Basic plan.
	BasicTables []string
}

// logsAudiences are the resources that tokens for the query API are issued for,
// beside the simulator's own address (the azlogs client's cloud configurations).
func logsAudiences() []string {
	return []string{
		"https://api.loganalytics.io", "https://api.loganalytics.azure.com",
		"https://api.loganalytics.us", "https://api.loganalytics.azure.cn",
	}
}

func (s *Sim) makeLogs() {
	ids := recordid.New(s.options.Seed)
	s.Endpoints.Workspace = string(ids.AppendOther(nil, recordid.Mix(s.options.Seed^0x10a)))
	o := s.options.Logs
	s.Logs = logs.New(logs.Options{
		Workspace: s.Endpoints.Workspace, Verify: s.verifyForLogs, Allowed: func(string) bool { return !o.Forbidden },
		BasicTables: o.BasicTables, MaxRows: o.MaxRows, MaxBytes: o.MaxBytes, Unlimited: o.Unlimited,
		KeepBytes: s.options.RetainBytes, Now: s.options.Now,
	})
	s.doors[LogAnalytics] = logsDoor{s}
}

func (s *Sim) verifyForLogs(token string) (app string, err error) {
	for _, audience := range append(logsAudiences(), s.Endpoints.Logs) {
		claims, failed := s.Entra.Claims(token, audience)
		switch {
		case failed == nil:
			app, _ = claims["appid"].(string)
			return app, nil
		case errors.Is(failed, jwt.ErrTokenExpired):
			return "", failed
		case errors.Is(failed, jwt.ErrTokenMalformed), errors.Is(failed, jwt.ErrTokenSignatureInvalid), errors.Is(failed, jwt.ErrTokenUnverifiable):
			return "", failed
		}
		err = fmt.Errorf("%w: %w", logs.ErrAudience, failed)
	}
	return "", err
}

// logsDoor takes records into the workspace. What comes at once has the same
// ingestion_time(), as what Azure takes in at once.
type logsDoor struct{ s *Sim }

func (d logsDoor) take(records []Record) error {
	now := d.s.options.Now()
	for _, r := range records {
		if err := d.s.Logs.Add(r.Category, r.Data, now); err != nil {
			return err
		}
	}
	return nil
}

// LogsHas reports whether the workspace has a table for the records of a
// category, so that they can leave by that door.
func LogsHas(category string) bool { return logs.Has(category) }

// logsFaults are the faults of the workspace by their names on the control
// surface.
func (s *Sim) logsFaults() map[string]fault {
	set := func(f func()) func() (int, error) { return func() (int, error) { f(); return 0, nil } }
	faults := &s.Logs.Faults
	rows := func(hit func(one int, by time.Duration)) fault {
		return func(p *parameters) func() (int, error) {
			one, by := p.number("share", 10), p.duration("by", 5*time.Minute)
			return set(func() { hit(one, by) })
		}
	}
	times := func(hit func(times int)) fault {
		return func(p *parameters) func() (int, error) {
			n := p.number("times", 1)
			return set(func() { hit(n) })
		}
	}
	return map[string]fault{
		"logs": func(p *parameters) func() (int, error) {
			status, n, after := p.number("status", 429), p.number("times", 1), p.duration("retry_after", 0)
			if status < 400 || status > 599 {
				p.wrong = append(p.wrong, fmt.Errorf(`"status" is %d: an error has 400 to 599`, status))
			}
			return set(func() { faults.Fail(n, status, after) })
		},
		"logs-partial": times(faults.Partial),
		"logs-cut":     times(faults.Cut),
		"logs-slow": func(p *parameters) func() (int, error) {
			n, wait := p.number("times", 1), p.duration("duration", 10*time.Minute)
			return set(func() { faults.Slow(n, wait) })
		},
		"logs-late":   rows(faults.Late),
		"logs-delay":  rows(faults.Delay),
		"logs-repeat": rows(faults.Repeat),
	}
}
