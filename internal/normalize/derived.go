package normalize

import (
	"strconv"
	"strings"
)

// derived.go remembers what steps made of the texts of a record: the address in a
// text goes into three or four fields, the same part of a flow's tuple into two.

// derived is what the steps up to one of the steps of a rule made of a text.
type derived struct {
	source []byte // by its place in memory
	record uint32 // number of the record; its memory may hold another one next
	chain  int32
	text   []byte
	ok     bool
}

// derivedTexts has a place for each chain of steps and length of text.
type derivedTexts [128]derived

func (d *derivedTexts) at(chain int32, source []byte) *derived {
	return &d[(uint32(chain)*5+uint32(len(source)))%uint32(len(d))]
}

// step takes a text through the steps of a rule.
func (w *Worker) step(r *rule, text []byte) ([]byte, bool) {
	steps := r.steps
	if len(steps) == 0 {
		return text, true
	}
	source := text
	next := len(steps)
	for ; next > 0; next-- {
		s := &steps[next-1]
		if s.chain == 0 {
			continue
		}
		if d := w.derived.at(s.chain, source); d.chain == s.chain && d.record == w.record && sameBytes(d.source, source) {
			if !d.ok {
				return nil, false
			}
			text = d.text
			break
		}
	}
	for ; next < len(steps); next++ {
		s := &steps[next]
		var ok bool
		if s.part > 0 {
			w.parts.of(text, ',')
			text = w.parts.between(s.part, s.part)
			ok = true
		} else {
			text, ok = s.run(w, text, s.argument)
		}
		ok = ok && len(text) > 0
		if s.chain != 0 {
			*w.derived.at(s.chain, source) = derived{source, w.record, s.chain, text, ok}
		}
		if !ok {
			return nil, false
		}
	}
	return text, true
}

// chains gives numbers to the steps that several rules begin with.
type chains struct {
	numbers map[string]int32
	rules   map[string]int // how many begin so
}

func chainName(steps []step) string {
	var name strings.Builder
	for i := range steps {
		name.WriteString(strconv.Quote(steps[i].name + " " + steps[i].argument))
	}
	return name.String()
}

func (c *chains) count(r *rule) {
	for i := range r.steps {
		c.rules[chainName(r.steps[:i+1])]++
	}
}

func (c *chains) number(r *rule) {
	for i := range r.steps {
		name := chainName(r.steps[:i+1])
		if c.rules[name] < 2 {
			continue
		}
		if c.numbers[name] == 0 {
			c.numbers[name] = int32(len(c.numbers) + 1)
		}
		r.steps[i].chain = c.numbers[name]
	}
}
