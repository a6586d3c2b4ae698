package ack

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// naive is the definition: the end of the longest prefix of done batches.
func naive(start int, ends []int, done []bool) int {
	safe := start
	for i, d := range done {
		if !d {
			break
		}
		safe = ends[i]
	}
	return safe
}

func TestTrackerMatchesDefinition(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 1))
		tr := NewTracker(0)
		var ends []int
		var done []bool
		var toks []*Token
		for range 200 {
			if len(toks) == 0 || r.IntN(2) == 0 {
				ends = append(ends, len(ends)*10+10)
				done = append(done, false)
				toks = append(toks, tr.Add(ends[len(ends)-1], epoch, nil))
			} else if i := r.IntN(len(toks)); !done[i] {
				done[i] = true
				toks[i].Release(1)
			}
			if got, want := tr.Safe(), naive(0, ends, done); got != want {
				t.Fatalf("seed %d: Safe() = %d, want %d", seed, got, want)
			}
		}
	}
}

// bug is a mistake planted into the model of the pipeline below. Each one must
// be caught, or the model test proves nothing.
type bug string

const (
	none               bug = ""
	maximumNotPrefix   bug = "the tracker takes the maximum of the finished cursors"
	releaseBeforeSplit bug = "the pipeline releases its hold before it holds for the sinks"
	releaseEarly       bug = "a sink runner releases when it sends, not when the sink confirms"
)

// tracker is what the model needs; maxTracker is the planted wrong one.
type tracker interface {
	Add(end int, now time.Time, onDone func()) *Token
	Safe() int
}

type maxTracker struct{ safe int }

func (m *maxTracker) Add(end int, _ time.Time, _ func()) *Token {
	return NewToken(func() { m.safe = max(m.safe, end) })
}
func (m *maxTracker) Safe() int { return m.safe }

// model runs one partition with two sinks that confirm in random order and
// sometimes fail, a checkpoint that is saved now and then, owners that may
// overlap and go stale, and crashes that forget everything but the store and
// what the sinks hold. It returns an error if a record was skipped: saved as
// safe before both sinks held it.
func model(seed uint64, planted bug) error {
	const records, sinks = 120, 2
	r := rand.New(rand.NewPCG(seed, 2))
	held := [sinks][records]bool{} // what the destinations hold; survives crashes
	stored := 0                    // the checkpoint store; survives crashes

	type part struct {
		sink, from, to int
		tok            *Token
		sent           bool
	}
	type owner struct {
		tr     tracker
		next   int
		flight []*part
	}
	newOwner := func() *owner {
		if planted == maximumNotPrefix {
			return &owner{tr: &maxTracker{safe: stored}, next: stored}
		}
		return &owner{tr: NewTracker(stored), next: stored}
	}
	read := func(o *owner) {
		end := min(o.next+1+r.IntN(7), records)
		tok := o.tr.Add(end, epoch, nil)
		if planted == releaseBeforeSplit {
			tok.Release(1)
			tok = NewToken(func() {}) // the holds come too late to matter
		}
		mid := o.next + (end-o.next)/2
		for s := range sinks {
			for _, span := range [][2]int{{o.next, mid}, {mid, end}} {
				tok.Hold(1)
				o.flight = append(o.flight, &part{s, span[0], span[1], tok, false})
			}
		}
		tok.Release(1)
		o.next = end
	}
	deliver := func(o *owner) {
		i := r.IntN(len(o.flight))
		p := o.flight[i]
		if planted == releaseEarly && !p.sent {
			p.tok.Release(1)
		}
		p.sent = true
		if r.IntN(4) == 0 {
			return // the sink failed: the same part is tried again later
		}
		for k := p.from; k < p.to; k++ {
			held[p.sink][k] = true
		}
		if r.IntN(20) == 0 {
			return // delivered, but the answer is lost: tried again later
		}
		o.flight = append(o.flight[:i], o.flight[i+1:]...)
		if planted != releaseEarly {
			p.tok.Release(1)
		}
	}
	save := func(o *owner) error {
		stored = o.tr.Safe() // no fencing: a stale owner may move it back
		for s := range sinks {
			for k := range stored {
				if !held[s][k] {
					return fmt.Errorf("seed %d: cursor %d was saved, but sink %d does not hold record %d", seed, stored, s, k)
				}
			}
		}
		return nil
	}

	owners := []*owner{newOwner()}
	for range 3000 {
		switch k := r.IntN(100); {
		case k == 0: // crash of all owners
			owners = []*owner{newOwner()}
		case k == 1 && len(owners) < 5: // a new owner; the old ones do not know that they are stale
			owners = append(owners, newOwner())
		default:
			o := owners[r.IntN(len(owners))]
			switch {
			case k < 30 && o.next < records:
				read(o)
			case k < 85 && len(o.flight) > 0:
				deliver(o)
			case k >= 85:
				if err := save(o); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func TestModelSkipsNoRecord(t *testing.T) {
	for seed := range uint64(500) {
		if err := model(seed, none); err != nil {
			t.Fatal(err)
		}
	}
}

func TestModelCatchesPlantedBugs(t *testing.T) {
	for _, planted := range []bug{maximumNotPrefix, releaseBeforeSplit, releaseEarly} {
		t.Run(string(planted), func(t *testing.T) {
			for seed := range uint64(500) {
				if err := model(seed, planted); err != nil {
					t.Logf("caught: %v", err)
					return
				}
			}
			t.Fatalf("500 schedules did not catch the planted bug: %s", planted)
		})
	}
}

func TestTrackerConcurrent(t *testing.T) {
	tr := NewTracker(0)
	var wg sync.WaitGroup
	last := 0
	for i := 1; i <= 5000; i++ {
		tok := tr.Add(i, epoch, nil)
		for range 3 {
			tok.Hold(2)
			wg.Go(func() { tok.Release(2) })
		}
		tok.Release(1)
		if s := tr.Safe(); s < last {
			t.Fatalf("Safe went back from %d to %d", last, s)
		} else {
			last = s
		}
	}
	wg.Wait()
	if n, _ := tr.Pending(); tr.Safe() != 5000 || n != 0 {
		t.Fatalf("Safe() = %d, Pending() = %d; want 5000, 0", tr.Safe(), n)
	}
}

func TestPendingNamesTheOldest(t *testing.T) {
	tr := NewTracker("")
	first := tr.Add("a", epoch, nil)
	second := tr.Add("b", epoch.Add(time.Minute), nil)
	second.Release(1)
	if n, at := tr.Pending(); n != 2 || !at.Equal(epoch) {
		t.Fatalf("Pending() = %d, %v; want 2 batches, the oldest of %v", n, at, epoch)
	}
	first.Release(1)
	if n, at := tr.Pending(); n != 0 || !at.IsZero() {
		t.Fatalf("Pending() = %d, %v; want none", n, at)
	}
}

func TestChangedWakesWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := NewTracker(0)
		tok := tr.Add(7, epoch, nil)
		got := make(chan int)
		go func() {
			for {
				changed := tr.Changed()
				if s := tr.Safe(); s == 7 {
					got <- s
					return
				}
				<-changed
			}
		}()
		synctest.Wait()
		tok.Release(1)
		if s := <-got; s != 7 {
			t.Fatalf("Safe() = %d, want 7", s)
		}
	})
}

func TestMisuseOfATokenPanics(t *testing.T) {
	for name, misuse := range map[string]func(*Token){
		"hold after the last release": func(k *Token) { k.Release(1); k.Hold(1) },
		"release too often":           func(k *Token) { k.Release(1); k.Release(1) },
		"release more than held":      func(k *Token) { k.Hold(1); k.Release(3) },
		"release nothing":             func(k *Token) { k.Release(0) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Fatal("no panic")
				}
			}()
			misuse(NewToken(func() {}))
		})
	}
}

func BenchmarkTracker(b *testing.B) {
	tr := NewTracker(0)
	ring := make([]*Token, 1024)
	for i := range b.N {
		if t := ring[i%1024]; t != nil {
			t.Release(1)
		}
		ring[i%1024] = tr.Add(i+1, epoch, nil)
	}
}
