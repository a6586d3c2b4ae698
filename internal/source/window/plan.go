package window

import (
	"slices"
	"time"
)

// plan decides which window is read next. It holds no rows and reads no clock.
type plan struct {
	cfg   *Config
	heads []time.Time // how far each pass has come: heads[0] is the furthest
	ends  []time.Time // where each pass ends; nil: never
	size  time.Duration
	parts int // of the instant at a head; 0: all in one
	tight int // windows in a row that held too much
	// crowded is the end of the window that held too much last: what lies before
	// it is approached by halves, not by windows that grow.
	crowded time.Time
	rate    float64 // rows a second, as lately seen
}

func newPlan(cfg *Config, heads []time.Time) *plan {
	return &plan{cfg: cfg, heads: heads, size: cfg.FirstSize}
}

// finishAt makes the passes end where they may read at now, or at end.
func (p *plan) finishAt(now, end time.Time) {
	for _, age := range p.cfg.Ages {
		at := now.Add(-age).Truncate(p.cfg.Resolution)
		if !end.IsZero() && end.Before(at) {
			at = end
		}
		p.ends = append(p.ends, at)
	}
}

func (p *plan) last() int { return len(p.heads) - 1 }

// settled is the time before which nothing is read again.
func (p *plan) settled() time.Time { return p.heads[p.last()] }

// limit is how far a pass may read now.
func (p *plan) limit(pass int, now time.Time, remembered int) time.Time {
	age := p.cfg.Ages[pass]
	if pass == 0 && p.full(remembered) {
		// What is read now would have to be remembered: wait until it need not.
		age = p.cfg.Ages[p.last()]
	}
	to := now.Add(-age).Truncate(p.cfg.Resolution)
	if p.ends != nil && p.ends[pass].Before(to) {
		to = p.ends[pass]
	}
	if pass > 0 && p.heads[pass-1].Before(to) {
		to = p.heads[pass-1]
	}
	return to
}

// room is how many more identities may be remembered.
func (p *plan) room(remembered int) float64 { return float64(p.cfg.Remember - remembered) }

func (p *plan) full(remembered int) bool {
	return p.last() > 0 && p.room(remembered) <= p.rate*p.cfg.Every.Seconds()
}

// step is the least that is worth a request.
func (p *plan) step(pass, remembered int) time.Duration {
	switch {
	case p.cfg.Fixed:
		return p.cfg.MaxSize
	case p.ends != nil:
		return p.cfg.Resolution
	case pass == 0 || p.full(remembered):
		return p.cfg.Every
	default:
		return max(p.cfg.Every, (p.cfg.Ages[pass]-p.cfg.Ages[pass-1])/4)
	}
}

// next returns the window that is due, or when one will be; neither if the
// passes have come to their ends.
//
// The oldest pass goes first: as long as a sweep lags behind, everything behind
// it has to be remembered.
func (p *plan) next(now time.Time, remembered int) (s Span, pass int, due bool, at time.Time) {
	for pass = p.last(); pass >= 0; pass-- {
		from, to := p.heads[pass], p.limit(pass, now, remembered)
		step := p.step(pass, remembered)
		// A sweep that can catch up with the pass before it joins it.
		joins := pass > 0 && to.Equal(p.heads[pass-1])
		if ahead := to.Sub(from); ahead >= step || joins && ahead > 0 {
			return Span{From: from, To: p.cut(from, to, now, remembered), Parts: max(p.parts, 1)}, pass, true, time.Time{}
		}
		if p.ends != nil {
			continue
		}
		age := p.cfg.Ages[pass]
		if pass == 0 && p.full(remembered) {
			age = p.cfg.Ages[p.last()]
		}
		when := from.Add(step + age)
		if pass > 0 && from.Before(p.heads[pass-1]) && p.heads[pass-1].Add(age).Before(when) {
			when = p.heads[pass-1].Add(age)
		}
		if pass > 0 && !from.Before(p.heads[pass-1]) {
			continue // nothing to sweep
		}
		if at.IsZero() || when.Before(at) {
			at = when
		}
	}
	return Span{}, 0, false, at
}

// cut returns the end of a window that may reach to.
func (p *plan) cut(from, to, now time.Time, remembered int) time.Time {
	size := p.size
	if p.cfg.Fixed {
		size = p.cfg.MaxSize
	}
	if young := now.Add(-p.cfg.Ages[p.last()]); p.rate > 0 && to.After(young) {
		// Not more rows than can be remembered, by the rate lately seen.
		if seconds := p.room(remembered) / p.rate; seconds < size.Seconds() {
			size = max(time.Duration(seconds*float64(time.Second)), young.Sub(from))
		}
	}
	size = max(size.Truncate(p.cfg.Resolution), p.cfg.Resolution)
	if end := from.Add(size); end.Before(to) {
		return end
	}
	return to
}

// behind returns where the passes stand once a window is read, by a request
// sent at asked.
func (p *plan) behind(s Span, asked time.Time) []time.Time {
	heads := slices.Clone(p.heads)
	for pass, head := range heads {
		if head.Before(s.From) || !head.Before(s.To) {
			continue
		}
		// A pass that stands at the window's beginning has this window behind it
		// as far as that was old enough.
		old := asked.Add(-p.cfg.Ages[pass]).Truncate(p.cfg.Resolution)
		if s.To.Before(old) {
			old = s.To
		}
		if old.After(head) {
			heads[pass] = old
		}
	}
	return heads
}

// complete notes that a window was read, and what it held.
func (p *plan) complete(s Span, heads []time.Time, load Load, rows int) {
	p.heads = heads
	took := s.To.Sub(s.From)
	p.parts, p.tight = 0, 0
	p.rate = float64(rows) / max(took, p.cfg.Every).Seconds()
	fits := took * 16
	if load.Share > 1.0/16 {
		fits = time.Duration(float64(took) / load.Share)
	}
	left := p.crowded.Sub(s.To)
	switch {
	case left > 0 && load.Share > 1.0/4:
		p.size = min(fits, left) // perhaps that was the half with the rows
	case left > 0:
		p.size = min(fits, max(left/2, p.cfg.Resolution))
	case fits < p.size:
		p.size = max(fits, took/4, p.cfg.Resolution)
	case took >= p.size.Truncate(p.cfg.Resolution):
		p.size = min(fits, p.cfg.MaxSize)
	}
}

// tooMuch makes the next window smaller, faster each time in a row. It reports
// false if it cannot be made smaller.
func (p *plan) tooMuch(s Span) bool {
	if p.cfg.Fixed {
		return false
	}
	took := s.To.Sub(s.From)
	if took <= p.cfg.Resolution {
		p.parts = 2 * max(p.parts, 1)
		if p.parts > maxParts {
			p.parts = 0
			return false
		}
		return true
	}
	// Halved, halved, then to a quarter, a 16th, a 256th ...
	shift := 1
	if p.tight > 1 {
		shift = 1 << (min(p.tight, 6) - 1)
	}
	p.tight++
	p.crowded = s.To
	p.size = max((took >> shift).Truncate(p.cfg.Resolution), p.cfg.Resolution)
	return true
}
