package decode

import (
	"bytes"

	"github.com/lazuli-logs/lazuli/internal/jsonscan"
)

// A record of a flow log holds the flows of one network interface during a
// minute, a tuple each, below the rule that decided them. narrow.go makes of it
// one record per tuple: the record that Azure would have written, were that
// tuple its only one.

// flowShape is where the tuples of a kind of flow log lie: in an array of flows,
// each with an array of groups, each with an array of tuples.
type flowShape struct {
	category string
	outer    string // the member of the record that holds "flows"
	groups   string // the member of a flow that holds its groups
}

var flowShapes = [...]flowShape{
	{category: "NetworkSecurityGroupFlowEvent", outer: "properties", groups: "flows"}, // NSG, version 1 and 2
	{category: "FlowLogFlowEvent", outer: "flowRecords", groups: "flowGroups"},        // virtual network, version 4
}

// maxGrowth is how many times its own size a record may become by narrowing,
// because everything around a tuple is repeated with each. Real ones become 10
// to 20 times as large. One that would become larger is handed on whole.
const maxGrowth = 64

// flowShapeOf returns the shape that the record in d.index may have, by its
// category, or nil. It is all that narrowing costs other records.
func (d *Decoder) flowShapeOf() *flowShape {
	x := &d.index
	nodes := x.Nodes
	for c, end := 1, int(nodes[0].Next); c < end; c = int(nodes[c].Next) {
		n := &nodes[c]
		if n.KeyEnd-n.KeyStart != uint32(len("category")) || n.Kind != jsonscan.String || string(x.Key(c)) != "category" {
			continue
		}
		text := x.Text(c)
		for i := range flowShapes {
			if len(text) == len(flowShapes[i].category) && bytes.EqualFold(text, []byte(flowShapes[i].category)) {
				return &flowShapes[i]
			}
		}
		return nil
	}
	return nil
}

// narrower makes records of single tuples. Its memory is used again for each.
type narrower struct {
	out   []byte // the record
	tail  []byte // what is in it after the tuple
	index jsonscan.Index
}

// tuples returns the node of the array of flows and how many tuples there are
// in it. It returns none if the record has not that shape in every part: a
// member that is missing or there twice, or an element of another kind.
func (s *flowShape) tuples(x *jsonscan.Index) (flows, tuples int) {
	outer := onlyMember(x, 0, s.outer)
	if outer < 0 || x.Nodes[outer].Kind != jsonscan.Object {
		return 0, 0
	}
	if flows = onlyMember(x, outer, "flows"); flows < 0 || x.Nodes[flows].Kind != jsonscan.Array {
		return 0, 0
	}
	for flow, end := elements(x, flows); flow < end; flow = next(x, flow) {
		groups := s.groupsOf(x, flow)
		if groups < 0 {
			return 0, 0
		}
		for group, end := elements(x, groups); group < end; group = next(x, group) {
			array := tuplesOf(x, group)
			if array < 0 {
				return 0, 0
			}
			for tuple, end := elements(x, array); tuple < end; tuple = next(x, tuple) {
				if x.Nodes[tuple].Kind != jsonscan.String {
					return 0, 0
				}
				tuples++
			}
		}
	}
	return flows, tuples
}

// elements returns the first element of node n, and the node after the last; with
// next it walks a node as Index.Children does, but allocates nothing in nested loops.
func elements(x *jsonscan.Index, n int) (first, end int) { return n + 1, int(x.Nodes[n].Next) }

func next(x *jsonscan.Index, n int) int { return int(x.Nodes[n].Next) }

// groupsOf returns the array of groups of a flow, or -1.
func (s *flowShape) groupsOf(x *jsonscan.Index, flow int) int { return arrayIn(x, flow, s.groups) }

// tuplesOf returns the array of tuples of a group, or -1.
func tuplesOf(x *jsonscan.Index, group int) int { return arrayIn(x, group, "flowTuples") }

// arrayIn returns the only member of that name of node n, if that is an object
// and the member an array, or -1.
func arrayIn(x *jsonscan.Index, n int, name string) int {
	if x.Nodes[n].Kind != jsonscan.Object {
		return -1
	}
	if n = onlyMember(x, n, name); n >= 0 && x.Nodes[n].Kind != jsonscan.Array {
		return -1
	}
	return n
}

// onlyMember returns the member of object n with that name, or -1 if there is
// none or more than one.
func onlyMember(x *jsonscan.Index, n int, name string) int {
	found := -1
	for c, end := elements(x, n); c < end; c = next(x, c) {
		if string(x.Key(c)) == name {
			if found >= 0 {
				return -1
			}
			found = c
		}
	}
	return found
}

// narrow hands on the record r, which is in d.index, as one record per tuple. It
// returns false, and nothing is handed on, if r is to be handed on whole: because
// it has not the shape, has one tuple and nothing beside it, or would grow too much.
func (d *Decoder) narrow(s *flowShape, r Record) bool {
	x := &d.index
	flows, count := s.tuples(x)
	if count == 0 || count == 1 && s.isNarrow(x, flows) {
		return false
	}
	size := len(x.Value(0))
	if !s.within(x, flows, maxGrowth*size) {
		return false
	}
	r.Tuples, r.Index = count, &d.narrowed.index
	kept := r.Repairs &^ InvalidUTF8
	for flow, end := elements(x, flows); flow < end; flow = next(x, flow) {
		groups := s.groupsOf(x, flow)
		for group, end := elements(x, groups); group < end; group = next(x, group) {
			tuples := tuplesOf(x, group)
			if isEmpty(x, tuples) {
				continue
			}
			head := d.narrowed.frame(x, [...][2]int{{0, flows}, {flow, groups}, {group, tuples}})
			for tuple, end := elements(x, tuples); tuple < end; tuple = next(x, tuple) {
				r.Raw = d.narrowed.put(head, x.Value(tuple))
				r.Repairs = kept | invalidUTF8(&d.narrowed.index)
				r.Number = d.number
				d.number++
				d.current = r
				d.record(&d.current)
			}
		}
	}
	return true
}

// isNarrow says that the only tuple has no empty flow or group beside it.
func (s *flowShape) isNarrow(x *jsonscan.Index, flows int) bool {
	return lone(x, flows) && lone(x, s.groupsOf(x, flows+1))
}

// lone says that array n has one element.
func lone(x *jsonscan.Index, n int) bool { return x.Nodes[n+1].Next == x.Nodes[n].Next }

func isEmpty(x *jsonscan.Index, n int) bool { return int(x.Nodes[n].Next) == n+1 }

// within says that the narrowed records together have at most that many bytes.
func (s *flowShape) within(x *jsonscan.Index, flows, most int) bool {
	around := func(n, array int) int { return len(x.Value(n)) - len(x.Value(array)) }
	total := 0
	for flow, end := elements(x, flows); flow < end; flow = next(x, flow) {
		groups := s.groupsOf(x, flow)
		for group, end := elements(x, groups); group < end; group = next(x, group) {
			tuples := tuplesOf(x, group)
			frame := around(0, flows) + around(flow, groups) + around(group, tuples)
			for tuple, end := elements(x, tuples); tuple < end; tuple = next(x, tuple) {
				if total += frame + len(x.Value(tuple)); total > most {
					return false
				}
			}
		}
	}
	return true
}

// frame puts into its memory what is around a tuple: of each object, all but the
// elements of its array. It returns how many bytes of that come before the tuple.
func (n *narrower) frame(x *jsonscan.Index, around [3][2]int) (head int) {
	n.out, n.tail = n.out[:0], n.tail[:0]
	for i := range around {
		object, array := &x.Nodes[around[i][0]], around[i][1]
		n.out = append(n.out, x.Src[object.Start:x.Nodes[array+1].Start]...)
	}
	for i := len(around) - 1; i >= 0; i-- {
		object, array := &x.Nodes[around[i][0]], around[i][1]
		last := array
		for element, end := elements(x, array); element < end; element = next(x, element) {
			last = element
		}
		n.tail = append(n.tail, x.Src[x.Nodes[last].End:object.End]...)
	}
	return len(n.out)
}

// put puts a tuple into the frame, and indexes the record.
func (n *narrower) put(head int, tuple []byte) []byte {
	n.out = append(append(n.out[:head], tuple...), n.tail...)
	if _, err := n.index.Scan(n.out); err != nil {
		panic("decode: a narrowed record is not JSON: " + err.Error()) // it is put together of whole values
	}
	return n.out
}
