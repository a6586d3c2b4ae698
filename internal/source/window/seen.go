package window

import "time"

// seen holds the identities of rows that were emitted and may be fetched again.
type seen struct {
	unique  bool
	rows    map[Identity]sighting
	attempt uint32 // counts requests
}

type sighting struct {
	until   int64  // Unix nanoseconds: when everything before is settled, this is forgotten
	emitted uint32 // how many rows with this identity were emitted
	attempt uint32 // the request that count belongs to
	count   uint32 // how many of them it has brought
}

func newSeen(unique bool) *seen { return &seen{unique: unique, rows: map[Identity]sighting{}} }

// begin begins a request: what it brings is counted anew.
func (s *seen) begin() { s.attempt++ }

// see notes a row of a window that ends at until. It reports whether it is new,
// and which of its likes it is, from 0.
func (s *seen) see(id Identity, until time.Time) (nth uint32, fresh bool) {
	e := s.rows[id]
	if e.attempt != s.attempt {
		e.attempt, e.count = s.attempt, 0
	}
	if !s.unique || e.count == 0 {
		e.count++
	}
	if fresh = e.count > e.emitted; fresh {
		e.emitted++
	}
	e.until = max(e.until, until.UnixNano())
	s.rows[id] = e
	return e.count - 1, fresh
}

// unsee takes back a row that was not emitted after all.
func (s *seen) unsee(id Identity) {
	e := s.rows[id]
	if e.emitted--; e.emitted == 0 {
		delete(s.rows, id)
		return
	}
	e.count--
	s.rows[id] = e
}

// forget drops what cannot be fetched again because it is settled.
func (s *seen) forget(settled time.Time) {
	before := settled.UnixNano()
	for id, e := range s.rows {
		if e.until <= before {
			delete(s.rows, id)
		}
	}
	if len(s.rows) == 0 {
		s.rows = map[Identity]sighting{} // a map does not give memory back
	}
}

// bound drops, where there are too many, what windows that were too large have
// brought from behind end: those rows will be emitted a second time.
func (s *seen) bound(end time.Time) {
	if len(s.rows) < mostRemembered {
		return
	}
	after := end.UnixNano()
	for id, e := range s.rows {
		if e.until > after {
			delete(s.rows, id)
		}
	}
}
