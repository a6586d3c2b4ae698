package graph

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// object is one object of a collection.
type object struct {
	id     string
	raw    []byte  // as it is sent
	times  []int64 // of the resource's time members, in ticks
	number uint64  // in the order of their arrival
	seen   int64   // from when on it is visible, in ticks

	members map[string]any // decoded when first needed
}

// ticks counts the steps of Azure's clock, 100 ns.
func ticks(t time.Time) int64 { return t.UnixNano() / 100 }

func (o *object) member(name string) any {
	if o.members == nil {
		decoder := json.NewDecoder(bytes.NewReader(o.raw))
		decoder.UseNumber()
		if decoder.Decode(&o.members) != nil {
			o.members = map[string]any{}
		}
	}
	return o.members[name]
}

// collection holds the objects of a resource, in the order of their first time.
type collection struct {
	*resource
	objects []*object
	byID    map[string]*object
	bytes   int64
}

func newCollection(r *resource) *collection {
	return &collection{resource: r, byID: map[string]*object{}}
}

func before(a, b *object) int {
	return cmp.Or(cmp.Compare(a.times[0], b.times[0]), cmp.Compare(a.number, b.number))
}

// put adds an object, or replaces the one of the same id.
func (c *collection) put(raw []byte, number uint64, visible time.Time) error {
	var known struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(raw, &known); err != nil || known.ID == "" {
		return fmt.Errorf("an object of %s has no id: %.200s", c.path, raw)
	}
	o := &object{id: known.ID, raw: raw, number: number, seen: ticks(visible), times: make([]int64, len(c.times))}
	for i, name := range c.times {
		text, _ := o.member(name).(string)
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return fmt.Errorf("object %s of %s: %s is %q: not a time", o.id, c.path, name, text)
		}
		o.times[i] = ticks(at)
	}
	o.members = nil
	if old := c.byID[o.id]; old != nil {
		c.remove(old)
	}
	at, _ := slices.BinarySearchFunc(c.objects, o, before)
	c.objects = slices.Insert(c.objects, at, o)
	c.byID[o.id] = o
	c.bytes += int64(len(raw))
	return nil
}

func (c *collection) remove(o *object) {
	if at, found := slices.BinarySearchFunc(c.objects, o, before); found {
		c.objects = slices.Delete(c.objects, at, at+1)
		delete(c.byID, o.id)
		c.bytes -= int64(len(o.raw))
	}
}

// selection returns the visible objects that meet a condition, in that order.
func (c *collection) selection(now time.Time, retention time.Duration, where condition, order order) []*object {
	oldest := int64(0)
	if retention > 0 {
		oldest = ticks(now.Add(-retention))
	}
	var chosen []*object
	for _, o := range c.objects {
		// What is updated is retained by the time of the update.
		if o.seen <= ticks(now) && slices.Max(o.times) >= oldest && (where == nil || where(o)) {
			chosen = append(chosen, o)
		}
	}
	slices.SortFunc(chosen, order.compare)
	return chosen
}

// order is one of $orderby's, or the resource's own: newest first.
type order struct {
	member     int
	descending bool
}

func (o order) compare(a, b *object) int {
	c := cmp.Or(cmp.Compare(a.times[o.member], b.times[o.member]), cmp.Compare(a.number, b.number))
	if o.descending {
		return -c
	}
	return c
}
