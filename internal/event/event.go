// Package event defines what flows through Lazuli: payloads as a door of Azure
// hands them over, and the events that sinks deliver. It holds data only and
// imports nothing but the standard library.
package event

import "time"

// Origin says which door a payload came through. One value is shared by all
// payloads of a partition; it is never modified.
type Origin struct {
	Source    string // configured name of the source, not its kind
	Tenant    string // configured name of the tenant, "" if none
	TenantID  string // Entra tenant id, "" if not known
	Partition string // the source's name of the ordered sequence read, e.g. "3"
	// Namespace identifies the partition among all partitions of Azure, e.g.
	// "ns.servicebus.windows.net/insights/3": with a position it makes an ID
	// that does not depend on the configuration.
	Namespace string
	// Feed says what the partition holds, where its records do not: e.g.
	// "graph:signIns" or "log_analytics:SigninLogs"; "" where they do.
	Feed string
}

// Payload is a run of bytes as received: the body of one hub message, the new
// part of a blob, one row of a query. It may hold any number of records.
type Payload struct {
	Body []byte
	// Position is where the payload stands in its partition: the sequence
	// number of a hub message, the byte offset in a blob.
	Position int64
	// Key identifies the payload in its partition where its position does not,
	// as with the rows of a query; zero where it does.
	Key [16]byte
	// Enqueued is when Azure took the payload in; zero if not known.
	Enqueued time.Time
	// Defect says why the source could make no record of the body, which then
	// goes to the dead letters unread; nil for all others.
	Defect *Defect
}

// Defect is what is wrong with a payload.
type Defect struct {
	Class  string // bounded: a metric's label, e.g. "too_large"
	Reason string // for the operator
}

// ID identifies a record for ever: the same record read again, on any
// instance, has the same ID, so that a destination can drop repeats. It is the
// record's native id where its log type has one, else its position in Azure,
// else a hash of its bytes.
type ID string

// Severity is what a normalized record says of how grave it is, by the members of
// its schema. Each sink makes a value of its own scale of it.
type Severity struct {
	Text   string `json:"text,omitempty"`   // e.g. "Warning": log.level of ECS, severity of OCSF
	ID     uint8  `json:"id,omitempty"`     // severity_id of OCSF; 0 if there is none
	Alert  bool   `json:"alert,omitempty"`  // event.kind of ECS is alert
	Failed bool   `json:"failed,omitempty"` // event.outcome of ECS, or status of OCSF, is a failure
}

// Event is one normalized record. It is immutable: sinks share it.
type Event struct {
	ID      ID
	Time    time.Time // when it happened, by the record's own account
	LogType string    // e.g. "entra_signin"; "unknown" if not recognized
	Schema  string    // "raw", "ecs" or "ocsf"
	// Dataset is event.dataset of ECS; empty in other schemas.
	Dataset string
	// LacksDataStream says that no mapping table puts a member data_stream into such
	// documents of ECS, so that a sink may add one without a look.
	LacksDataStream bool
	// Severity is what the record says of how grave it is; empty of a raw event.
	Severity Severity
	Data     []byte // one JSON object in UTF-8 without a line feed
	Origin   *Origin
}
