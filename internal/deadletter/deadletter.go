// Package deadletter keeps what could not be read or delivered: durable, with
// the reason, the time and the origin, one readable JSON object a line, until
// it is replayed or the operator deletes the files.
//
// It knows nothing of sources, sinks or schemas; who replays, decides what to
// do with a letter.
package deadletter

import (
	"encoding/base64"
	"encoding/json"
	"time"
	"unicode/utf8"

	"github.com/lazuli-logs/lazuli/internal/event"
)

// Letter is one record, or a piece of a payload, that could not go on.
type Letter struct {
	Time   time.Time `json:"time"`   // when it was given up
	Class  string    `json:"class"`  // bounded: not_json, gzip, rejected, spilled ...
	Reason string    `json:"reason"` // for a human

	Source    string `json:"source,omitempty"`
	Tenant    string `json:"tenant,omitempty"`
	TenantID  string `json:"tenant_id,omitempty"`
	Partition string `json:"partition,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	Position  int64  `json:"position,omitempty"` // of the payload in its partition
	Offset    int    `json:"offset,omitempty"`   // byte position of Data in the payload

	// The rest is set for a normalized event that a sink did not take.
	Sink      string         `json:"sink,omitempty"`
	Schema    string         `json:"schema,omitempty"`
	LogType   string         `json:"log_type,omitempty"`
	ID        event.ID       `json:"id,omitempty"`
	EventTime time.Time      `json:"event_time,omitzero"`
	Dataset   string         `json:"dataset,omitempty"`
	Severity  event.Severity `json:"severity,omitzero"`

	Data Bytes `json:"data"` // the bytes as received, or the event as it would have been sent
}

// FromEvent returns the letter of an event that sink did not take.
func FromEvent(e event.Event, sink, class, reason string) Letter {
	l := Letter{
		Class: class, Reason: reason, Sink: sink, Schema: e.Schema, LogType: e.LogType,
		ID: e.ID, EventTime: e.Time, Dataset: e.Dataset, Severity: e.Severity, Data: e.Data,
	}
	l.setOrigin(e.Origin)
	return l
}

// FromPayload returns the letter of a piece of a payload that could not be
// read: data stands at byte offset of the payload at that position.
func FromPayload(o *event.Origin, position int64, offset int, data []byte, class, reason string) Letter {
	l := Letter{Class: class, Reason: reason, Position: position, Offset: offset, Data: data}
	l.setOrigin(o)
	return l
}

func (l *Letter) setOrigin(o *event.Origin) {
	if o == nil {
		return
	}
	l.Source, l.Tenant, l.TenantID, l.Partition, l.Namespace = o.Source, o.Tenant, o.TenantID, o.Partition, o.Namespace
}

// Origin returns where the letter's data was read.
func (l *Letter) Origin() *event.Origin {
	return &event.Origin{Source: l.Source, Tenant: l.Tenant, TenantID: l.TenantID, Partition: l.Partition, Namespace: l.Namespace}
}

// Event returns the event of a letter that a sink did not take.
func (l *Letter) Event() event.Event {
	return event.Event{ID: l.ID, Time: l.EventTime, LogType: l.LogType, Schema: l.Schema, Dataset: l.Dataset, Severity: l.Severity, Data: l.Data, Origin: l.Origin()}
}

// Bytes is written as text where it is UTF-8, which a human can read, and as
// {"base64": "..."} where it is not.
type Bytes []byte

// MarshalJSON implements json.Marshaler.
func (b Bytes) MarshalJSON() ([]byte, error) {
	if utf8.Valid(b) {
		return json.Marshal(string(b))
	}
	return json.Marshal(map[string]string{"base64": base64.StdEncoding.EncodeToString(b)})
}

// UnmarshalJSON implements json.Unmarshaler.
func (b *Bytes) UnmarshalJSON(src []byte) error {
	if len(src) > 0 && src[0] == '{' {
		var wrapped struct {
			Base64 []byte `json:"base64"`
		}
		if err := json.Unmarshal(src, &wrapped); err != nil {
			return err
		}
		*b = wrapped.Base64
		return nil
	}
	var text string
	if err := json.Unmarshal(src, &text); err != nil {
		return err
	}
	*b = Bytes(text)
	return nil
}
