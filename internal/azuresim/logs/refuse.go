package logs

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/lazuli-logs/lazuli/internal/azuresim/logs/kql"
)

// refusal is an error in the service's form.
type refusal struct {
	Code         string    `json:"code"`
	Message      string    `json:"message"`
	Details      []refusal `json:"details,omitempty"`
	Inner        *refusal  `json:"innererror,omitempty"`
	Severity     int       `json:"severity,omitempty"`
	SeverityName string    `json:"severityName,omitempty"`
	Line         int       `json:"line,omitempty"`
	Pos          *int      `json:"pos,omitempty"`
	Token        string    `json:"token,omitempty"`
}

func refuse(w http.ResponseWriter, status int, r refusal) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": struct {
		refusal
		CorrelationID string `json:"correlationId"`
	}{r, uuid.NewString()}}) // the client has gone if this fails
}

// refuseQuery answers a query that is wrong.
func refuseQuery(w http.ResponseWriter, err error, v *view) {
	var wrong *kql.Error
	if !errors.As(err, &wrong) {
		refuse(w, http.StatusInternalServerError, refusal{Code: "InternalServerError", Message: err.Error()})
		return
	}
	if v.basic != "" {
		message := fmt.Sprintf("Table '%s' is of the Basic plan: it can only be queried with the search API", v.basic)
		if v.search {
			message = fmt.Sprintf("Table '%s' is not of the Basic or Auxiliary plan: the search API cannot query it", v.basic)
		}
		refuse(w, http.StatusBadRequest, refusal{Code: "BadArgumentError", Message: "The request had some invalid properties", Inner: &refusal{Code: "BasicTableError", Message: message}})
		return
	}
	kind, text := "SemanticError", "A semantic error occurred."
	if wrong.Syntax() {
		kind, text = "SyntaxError", "A recognition error occurred in the query."
	}
	inner := &refusal{Code: wrong.Code, Message: wrong.Message, Token: wrong.Token}
	if wrong.Line > 0 {
		inner.Line, inner.Pos = wrong.Line, &wrong.Pos
	}
	refuse(w, http.StatusBadRequest, refusal{
		Code: "BadArgumentError", Message: "The request had some invalid properties",
		Inner: &refusal{Code: kind, Message: text, Inner: inner},
	})
}

type timespan struct{ from, to time.Time }

var isoDuration = regexp.MustCompile(`^P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?$`)

// parseTimespan reads an ISO 8601 duration, or two times with a slash between.
func parseTimespan(text string, now time.Time) (*timespan, error) {
	if text == "" {
		return nil, nil
	}
	wrong := fmt.Errorf("timespan %q is not of ISO 8601", text)
	if m := isoDuration.FindStringSubmatch(text); m != nil {
		d := time.Duration(0)
		for i, unit := range []time.Duration{24 * time.Hour, time.Hour, time.Minute, time.Second} {
			if m[i+1] != "" {
				n, err := strconv.Atoi(m[i+1])
				if err != nil || n > 1e6 {
					return nil, wrong
				}
				d += time.Duration(n) * unit
			}
		}
		return &timespan{now.Add(-d), now.Add(24 * time.Hour)}, nil
	}
	first, second, two := strings.Cut(text, "/")
	from, err1 := time.Parse(time.RFC3339Nano, first)
	to, err2 := time.Parse(time.RFC3339Nano, second)
	if !two || err1 != nil || err2 != nil {
		return nil, wrong
	}
	return &timespan{from, to}, nil
}
