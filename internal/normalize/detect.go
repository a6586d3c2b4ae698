package normalize

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/jsonscan"
)

// UnknownLogType is the log type of a record that nothing recognizes.
const UnknownLogType = "unknown"

// logType is a kind of record: what identifies it, and where it keeps its time
// and its own id. One detection serves all schemas.
type logType struct {
	name   string
	place  string // where it is defined, for Explain
	number int
	id     [][]memberPath // alternatives; all parts of one make an id
	times  []memberPath   // of its own, before timeMembers; they may lead into lists
	expand []memberPath
	where  []whereCond // what a record must have beside the category
}

// memberPath leads through members only. The paths of a detector are numbered, so
// that an outline can say where each leads.
type memberPath struct {
	segments []segment
	number   int
}

type whereCond struct {
	path   memberPath
	values []string // nil, and no globs: any
	globs  []glob   // values with stars
	absent bool     // the path must lead to nothing
}

// idParts reads "properties.id" and "properties.id + properties.lastUpdate".
func (d *detector) idParts(s string) (parts []memberPath, err error) {
	for path := range strings.SplitSeq(s, " + ") {
		part, err := d.path(path)
		if err != nil {
			return nil, err
		}
		parts = append(parts, part)
	}
	return parts, nil
}

// timeMembers are the names under which Azure's records carry their time, in
// the order in which they are believed.
var timeMembers = []string{
	"time",                         // diagnostic settings
	"timestamp",                    // Application Gateway v1
	"timeStamp",                    // Application Gateway v2
	"eventTimestamp",               // activity log by REST, Service Bus
	"EventTimeString",              // Event Hubs
	"TimeGenerated",                // Log Analytics, Defender for Cloud
	"StartTimeUtc",                 // Defender for Cloud alerts
	"createdDateTime",              // Microsoft Graph: sign-ins, alerts
	"activityDateTime",             // Microsoft Graph: directory audits, provisioning
	"detectedDateTime",             // Microsoft Graph: risk detections
	"riskLastUpdatedDateTime",      // Microsoft Graph: risky users
	"CreatedDateTime", "Timestamp", // Log Analytics without TimeGenerated; Defender advanced hunting
}

// detector finds the log type, time and id of records.
type detector struct {
	types      []*logType // in the order of their definition; the first is the unknown one
	byCategory nameTable  // category in lower case → index into candidates
	// candidates are log types in the order in which they are tried: several
	// services have a category AuditLogs. The first list is of those without a
	// category.
	candidates [][]*logType
	members    nameTable // top-level members that detection reads → role
	forms      forms
	paths      []string // by their numbers
}

// Roles of top-level members; anything from 0 on is the rank in timeMembers.
const (
	roleCategory = -2
	roleType     = -3
)

func newDetector() *detector {
	d := &detector{}
	unknown := &logType{name: UnknownLogType}
	for _, name := range []string{"properties", "EventProperties"} { // the second is of Event Hubs and Service Bus
		path, err := d.path(name)
		if err != nil {
			panic(err)
		}
		unknown.expand = append(unknown.expand, path)
	}
	d.types = []*logType{unknown}
	d.candidates = [][]*logType{nil}
	d.members.add("category", roleCategory)
	d.members.add("Category", roleCategory)
	d.members.add("Type", roleType)
	for rank, name := range timeMembers {
		d.members.add(name, int32(rank))
	}
	return d
}

// define adds a log type, or replaces the one of the same name.
func (d *detector) define(file string, spec logTypeSpec) error {
	fail := func(key string, err error) error {
		return &MappingError{File: file, Line: spec.line, Rule: fmt.Sprintf("log type %q: %s: %v", spec.name, key, err)}
	}
	t := &logType{name: spec.name, place: fmt.Sprintf("%s:%d", file, spec.line), number: len(d.types)}
	for _, s := range spec.time {
		path, err := parsePath(s)
		if err != nil || len(path) == 0 {
			return fail("time", fmt.Errorf("path %q must name a member", s))
		}
		t.times = append(t.times, d.number(s, path))
	}
	for _, s := range spec.expand {
		path, err := d.path(s)
		if err != nil {
			return fail("expand", err)
		}
		t.expand = append(t.expand, path)
	}
	if t.expand == nil {
		t.expand = d.types[0].expand
	}
	for _, s := range spec.id {
		parts, err := d.idParts(s)
		if err != nil {
			return fail("id", err)
		}
		t.id = append(t.id, parts)
	}
	var err error
	if t.where, err = d.whereConds(spec.lacks, spec.has, spec.where); err != nil {
		return &MappingError{File: file, Line: spec.line, Rule: fmt.Sprintf("log type %q: %v", spec.name, err)}
	}
	if i := d.numberOf(spec.name); i > 0 {
		t.number = i
		d.types[i] = t
		for c, list := range d.candidates {
			d.candidates[c] = slices.DeleteFunc(list, func(o *logType) bool { return o.name == t.name })
		}
	} else {
		d.types = append(d.types, t)
	}
	if len(spec.category) == 0 {
		d.candidates[0] = append(d.candidates[0], t)
	}
	for _, c := range spec.category {
		c = strings.ToLower(c)
		i := d.byCategory.find([]byte(c))
		if i < 0 {
			i = int32(len(d.candidates))
			d.candidates = append(d.candidates, nil)
			d.byCategory.add(c, i)
		}
		d.candidates[i] = append(d.candidates[i], t)
	}
	return nil
}

// path reads a path of members and gives it a number.
func (d *detector) path(s string) (memberPath, error) {
	segments, err := memberSegments(s)
	if err != nil {
		return memberPath{}, err
	}
	return d.number(s, segments), nil
}

func (d *detector) number(s string, segments []segment) memberPath {
	number := slices.Index(d.paths, s)
	if number < 0 {
		number = len(d.paths)
		d.paths = append(d.paths, s)
	}
	return memberPath{segments, number}
}

// memberSegments reads a path that leads through members only.
func memberSegments(path string) ([]segment, error) {
	segments, err := parsePath(path)
	if err != nil {
		return nil, err
	}
	if len(segments) == 0 || slices.ContainsFunc(segments, func(s segment) bool { return s.index != noIndex }) {
		return nil, fmt.Errorf("path %q must name members, without brackets", path)
	}
	return segments, nil
}

func (d *detector) numberOf(name string) int {
	for i, t := range d.types {
		if t.name == name {
			return i
		}
	}
	return -1
}

// overview is what one look at the top-level members of a record shows.
type overview struct {
	category, typ int // the members, or -1
	hasTime       bool
	capital       bool // the category is in Category: no envelope, or one with other names
	embedded      bool // a member holds what may be JSON in a string
}

// look looks at the top-level members; it sets w.times.
func (w *Worker) look() overview {
	if w.outline = w.outlineOf(); w.outline != nil {
		return w.lookBy(w.outline)
	}
	d := w.m.detector
	o := overview{category: -1, typ: -1}
	times := w.times[:0]
	if w.x.Nodes[w.node].Kind == jsonscan.Object {
		nodes, src := w.x.Nodes, w.x.Src
		end := int(nodes[w.node].Next)
		for c := w.node + 1; c < end; c = int(nodes[c].Next) {
			node := &nodes[c]
			o.embedded = o.embedded || node.Kind == jsonscan.String && src[node.Start+1] == '{'
			name := src[node.KeyStart:node.KeyEnd]
			if node.Flags&escapedKey != 0 {
				name = w.unescapedKey(c)
			}
			role := d.members.find(name)
			switch {
			case role == -1 || node.Kind == jsonscan.Null:
			case role == roleCategory:
				if o.category < 0 {
					o.category, o.capital = c, w.key(c)[0] == 'C'
				}
			case role == roleType:
				o.typ = c
			default:
				o.hasTime = o.hasTime || role == 0
				times = append(times, rankedNode{int(role), c})
			}
		}
	}
	w.times = times
	return o
}

// detect sets what w knows of the record: its form, log type, time and id. It
// puts the record into the form that the tables are written for, and the JSON
// that some log types carry in strings in the place of the string.
func (w *Worker) detect() {
	d := w.m.detector
	w.timeText, w.timeAssumed, w.timeWritten, w.timeNode, w.idNode, w.ownID = nil, false, nil, -1, -1, false
	w.time = w.in.Enqueued
	seen := w.look()
	w.form = w.formOf(seen.typ, seen.hasTime && !seen.capital)
	if w.form != nil && w.reshape(w.form) {
		seen = w.look()
	}
	if seen.embedded && w.expand(d.types[0].expand, true) {
		seen = w.look()
	}
	w.logType = d.types[w.classify(seen.category)]
	if w.expand(w.logType.expand, seen.embedded) {
		w.look()
	}
	times := w.times
	found := false
	for _, path := range w.logType.times {
		n := w.reach(path)
		if found = n >= 0 && w.readTime(n); found {
			break
		}
	}
	for !found && len(times) > 0 {
		best := 0
		for i := range times {
			if times[i].rank < times[best].rank {
				best = i
			}
		}
		if found = w.readTime(times[best].node); !found {
			times[best] = times[len(times)-1]
			times = times[:len(times)-1]
		}
	}
	w.timeAssumed = !found
	w.id = w.identify()
}

type rankedNode struct{ rank, node int }

// classify returns the number of the record's log type.
func (w *Worker) classify(category int) int {
	d := w.m.detector
	if category >= 0 && w.x.Nodes[category].Kind == jsonscan.Object { // {"value":"Administrative","localizedValue":...} by REST
		category = w.find(category, "value")
	}
	if category >= 0 && w.x.Nodes[category].Kind == jsonscan.String {
		text, _ := w.textOf(0, category)
		w.lower = appendLower(w.lower[:0], text)
		if i := d.byCategory.find(w.lower); i >= 0 {
			for _, t := range d.candidates[i] {
				if w.meets(t.where) {
					return t.number
				}
			}
		}
	}
	for _, t := range d.candidates[0] {
		if w.meets(t.where) {
			return t.number
		}
	}
	return 0
}

func (w *Worker) meets(where []whereCond) bool {
	for i := range where {
		c := &where[i]
		n := w.follow(c.path)
		if (n < 0) != c.absent {
			return false
		}
		if c.values == nil && c.globs == nil {
			continue
		}
		text, ok := w.textOf(0, n)
		if !ok || !containsFold(c.values, text) && !w.matchesFold(c.globs, text) {
			return false
		}
	}
	return true
}

// matchesFold says whether a text, read without case, is of one of the forms.
func (w *Worker) matchesFold(globs []glob, text []byte) bool {
	if len(globs) == 0 {
		return false
	}
	mark := len(w.text)
	w.text = appendLower(w.text, text)
	lower := w.text[mark:]
	w.text = w.text[:mark]
	return slices.ContainsFunc(globs, func(g glob) bool { return g.match(lower) })
}

// reach returns the first node that a path leads to, or -1.
func (w *Worker) reach(path memberPath) int {
	if o := w.outline; o != nil {
		if n := o.follow(w, path); n != unknown {
			return n
		}
	}
	w.nodes = w.nodes[:0]
	if w.walk(w.node, path.segments); len(w.nodes) == 0 {
		return -1
	}
	return int(w.nodes[0])
}

// follow returns the node at the end of a path of members, or -1.
func (w *Worker) follow(path memberPath) int {
	if w.outline != nil {
		return w.outline.follow(w, path)
	}
	n := w.node
	for i := range path.segments {
		if n = w.find(n, path.segments[i].name); n < 0 {
			break
		}
	}
	return n
}

func containsFold(values []string, text []byte) bool {
	for _, v := range values {
		if len(v) == len(text) && strings.EqualFold(v, string(text)) {
			return true
		}
	}
	return false
}

func (w *Worker) readTime(n int) bool {
	node := &w.x.Nodes[n]
	if node.Kind != jsonscan.String && node.Kind != jsonscan.Number {
		return false
	}
	text, _ := w.textOf(0, n)
	t, canonical, ok := parseTime(text)
	w.timeNode = int32(n)
	if !ok {
		w.timeNode = -1
		tuple := bytes.IndexByte(text, ',') // of a flow, which begins with its time
		if tuple < 0 {
			return false
		}
		text = text[:tuple]
		if t, canonical, ok = parseTime(text); !ok {
			return false
		}
	}
	w.time, w.timeWritten = t, text
	if canonical {
		w.timeText = text
	}
	return true
}

// expand puts the objects in the strings at paths in the strings' place, and says
// whether there were any. embedded says whether one of the record's own members
// may be such a string.
func (w *Worker) expand(paths []memberPath, embedded bool) (expanded bool) {
	for _, path := range paths {
		if len(path.segments) == 1 && !embedded {
			continue
		}
		if n := w.follow(path); n >= 0 && w.x.Nodes[n].Kind == jsonscan.String {
			expanded = w.expandMember(n) || expanded
		}
	}
	return expanded
}

// expandMember puts the object in string n in the string's place, in a copy of
// the record that the document is then made of. A string that holds no object
// stays as it is.
func (w *Worker) expandMember(n int) bool {
	text, _ := w.textOf(0, n)
	text = bytes.TrimSpace(text)
	if len(text) < 2 || text[0] != '{' {
		return false
	}
	if used, err := w.inner.Scan(text); err != nil || used != len(text) {
		var ok bool
		if text[1] != '\'' { // Function Apps write single quotes
			return false
		}
		if text, ok = w.mender.Object(text); !ok {
			return false
		}
	}
	record, member := w.x.Nodes[w.node], w.x.Nodes[n]
	src := w.x.Src
	// src may be what was put together before.
	w.spliced, w.spare = w.spare, w.spliced
	spliced := append(w.spliced[:0], src[record.Start:member.Start]...)
	spliced = append(spliced, text...)
	spliced = append(spliced, src[member.End:record.End]...)
	w.spliced = spliced
	if _, err := w.expanded.Scan(spliced); err != nil {
		// Nested too deep together: the string stays a string.
		w.spliced, w.spare = w.spare, w.spliced
		if w.x == &w.expanded {
			_, _ = w.expanded.Scan(w.spliced) // it was valid before
		}
		return false
	}
	w.x, w.node, w.outline = &w.expanded, 0, nil
	return true
}

// identify returns the record's id: its own if its log type has one, else its
// position or its payload's key, else a hash of its bytes.
func (w *Worker) identify() event.ID {
	for _, parts := range w.logType.id {
		if w.ownID = w.appendID(parts); w.ownID {
			return event.ID(w.lower)
		}
	}
	w.lower = w.lower[:0]
	if o := w.in.Origin; o != nil && o.Namespace != "" {
		w.lower = append(append(w.lower, o.Namespace...), '/')
		if w.in.Key != [16]byte{} {
			w.lower = append(hex.AppendEncode(w.lower, w.in.Key[:]), '/')
		} else {
			w.lower = append(strconv.AppendInt(w.lower, w.in.Position, 10), '/')
		}
		w.lower = strconv.AppendInt(w.lower, int64(w.in.Number), 10)
		return event.ID(w.lower)
	}
	sum := sha256.Sum256(w.raw)
	w.lower = hex.AppendEncode(w.lower, sum[:16])
	return event.ID(w.lower)
}

// appendID puts an id together in w.lower, or says that a part is missing. A
// time in it counts by its milliseconds: doors write one time with different
// decimals, and two changes within one second are not the same.
func (w *Worker) appendID(parts []memberPath) bool {
	w.lower = w.lower[:0]
	for i, path := range parts {
		n := w.follow(path)
		if n < 0 || w.x.Nodes[n].Kind != jsonscan.String {
			return false
		}
		text, ok := w.textOf(0, n)
		if !ok || i == 0 && !isIdentity(text) {
			return false
		}
		if i == 0 {
			w.lower = append(w.lower, text...)
			if len(parts) == 1 {
				w.idNode = int32(n)
			}
			continue
		}
		w.lower = append(w.lower, '@')
		if t, _, ok := parseTime(text); ok {
			w.lower = strconv.AppendInt(w.lower, t.UnixMilli(), 10)
		} else {
			w.lower = append(w.lower, text...)
		}
	}
	return true
}

// isIdentity refuses what services write where they have no id.
func isIdentity(text []byte) bool {
	for _, c := range text {
		if c != '0' && c != '-' {
			return len(text) >= 8
		}
	}
	return false
}
