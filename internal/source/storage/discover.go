package storage

import (
	"context"
	"slices"
	"sort"
	"sync"
	"time"
)

// containerState is what discovery knows of a container. Its fields are guarded
// by Source.mu.
type containerState struct {
	layout string // "" while the container is empty
	strays bool   // blobs outside of the dates were reported
}

const (
	// idleAfter is how old the newest blob of a folder is when the folder is
	// taken for one of a resource that is gone; it is then listed as rarely as
	// new folders are looked for.
	idleAfter = 24 * time.Hour
	// ahead is how far Azure's clock may be ahead of this machine's.
	ahead = 5 * time.Minute
	// deepest bounds the walk for folders: resource ids have up to 16 parts, with
	// parents.
	deepest = 40
	// catchers is how many folders may be read from the past at a time: they wait
	// for the workers, and must not keep the listing of new hours waiting.
	catchers = 4
	// mostDue bounds the folders that wait to be listed in goroutines of their own.
	mostDue = 1000
)

// discover looks for what is new until ctx ends, or once.
func (s *Source) discover(ctx context.Context) {
	if s.once() {
		s.survey(ctx)
		each(ctx, listers, s.allFolders(), func(f *folder) { s.look(ctx, f) })
		return
	}
	var jobs sync.WaitGroup
	defer jobs.Wait()
	places, past := make(chan struct{}, listers), make(chan struct{}, catchers)
	start := func(f *folder, places chan struct{}) {
		jobs.Go(func() {
			select {
			case places <- struct{}{}:
				s.look(ctx, f)
				<-places
			case <-ctx.Done():
			}
		})
	}
	var survey sync.Mutex
	var surveyed time.Time
	for {
		now := s.deps.Now()
		if now.Sub(surveyed) >= s.cfg.Discover.Std() && survey.TryLock() {
			surveyed = now
			jobs.Go(func() {
				defer survey.Unlock()
				s.survey(ctx)
			})
		}
		for _, f := range s.dueFolders(now) {
			if s.behind(f, now) {
				start(f, past)
			} else {
				start(f, places)
			}
		}
		s.observe(now)
		if !sleep(ctx, s.timing.tick) {
			return
		}
	}
}

// each calls f for every element, at most limit at a time, until ctx ends.
func each[T any](ctx context.Context, limit int, elements []T, f func(T)) {
	var wg sync.WaitGroup
	places := make(chan struct{}, limit)
	for _, e := range elements {
		select {
		case <-ctx.Done():
		case places <- struct{}{}:
			wg.Go(func() {
				f(e)
				<-places
			})
		}
	}
	wg.Wait()
}

func (s *Source) allFolders() []*folder {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*folder, 0, len(s.folders))
	for _, f := range s.folders {
		all = append(all, f)
	}
	sort.Slice(all, func(i, k int) bool { return all[i].key() < all[k].key() })
	return all
}

// dueFolders returns the folders to list now and marks them as running.
func (s *Source) dueFolders(now time.Time) []*folder {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pending >= mostPending {
		return nil // there is enough to read
	}
	var due []*folder
	for _, f := range s.folders {
		if !f.running && !now.Before(f.next) {
			f.running = true
			due = append(due, f)
		}
	}
	// Those that wait longest come first.
	sort.Slice(due, func(i, k int) bool { return due[i].next.Before(due[k].next) })
	for len(due) > mostDue {
		due[len(due)-1].running = false
		due = due[:len(due)-1]
	}
	return due
}

// observe reports how far behind each container is.
func (s *Source) observe(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := 0
	lag := map[string]time.Duration{}
	for name := range s.containers {
		lag[name] = 0
	}
	for _, f := range s.folders {
		known += len(f.blobs)
		for _, b := range f.blobs {
			if b.state != idle && !b.noted.IsZero() {
				lag[f.container] = max(lag[f.container], now.Sub(b.noted))
			}
		}
	}
	for container, behind := range lag {
		s.metrics.Lag(container, behind)
	}
	s.metrics.Blobs(known, s.pending)
}

// behind tells whether hours of the folder have to be taken up from the past.
func (s *Source) behind(f *folder, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !f.flat && s.settledHour(now).Sub(f.upto) > time.Hour
}

// settledHour is the first hour to which something may still be added at now.
func (s *Source) settledHour(now time.Time) time.Time { return hourOf(now.Add(-s.cfg.LookBack.Std())) }

// look lists what may be new in a folder, and retires what is finished.
func (s *Source) look(ctx context.Context, f *folder) {
	now := s.deps.Now()
	var err error
	if f.flat {
		err = s.lookFlat(ctx, f, now)
	} else {
		err = s.lookDated(ctx, f, now)
	}
	if err == nil && s.deps.Window == nil {
		err = s.retire(ctx, f)
	}
	if err != nil {
		s.trouble(ctx, partContainer(f.container), "list container "+f.container, err)
	} else if ctx.Err() == nil {
		s.health.OK(partContainer(f.container))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f.running = false
	if err != nil {
		f.tries++
		f.next = s.deps.Now().Add(jitter(min(s.timing.retry<<min(f.tries, 10), s.timing.failed)))
		return
	}
	f.tries = 0
	wait := s.cfg.Poll.Std()
	switch {
	case f.flat:
		// A listing of everything must not run all the time.
		wait = max(wait, 2*s.deps.Now().Sub(now))
		if s.queue != nil {
			wait = max(wait, s.cfg.Queue.SafetyNet.Std())
		}
	case now.Sub(f.newest) > idleAfter:
		wait = max(wait, s.cfg.Discover.Std())
	}
	f.next = now.Add(wait)
}

// lookFlat lists all of a folder. Memory is taken by what changed since the low
// mark only.
func (s *Source) lookFlat(ctx context.Context, f *folder, now time.Time) error {
	s.mu.Lock()
	f.pass++
	low := f.low
	s.mu.Unlock()
	for marker := ""; ; {
		s.waitPending(ctx, mostPending/2)
		p, err := s.list(ctx, f.container, s.cfg.Prefix, "", marker)
		if err != nil {
			return err
		}
		for _, it := range p.items {
			s.mu.Lock()
			known := f.blobs[it.name] != nil
			s.mu.Unlock()
			if !known && it.modified.Before(low) || !s.inWindow(it.created) {
				continue
			}
			s.news(f, it)
		}
		if marker = p.next; marker == "" {
			break
		}
	}
	var missing []*blob
	s.mu.Lock()
	// What is listed as changed before this is either read or known by now.
	if upto := now.Add(-s.cfg.LookBack.Std()); upto.After(f.upto) {
		f.upto = upto
	}
	for _, b := range f.blobs {
		if b.pass != f.pass {
			missing = append(missing, b)
		}
	}
	s.mu.Unlock()
	for _, b := range missing {
		s.gone(b)
	}
	return nil
}

// inWindow tells whether a blob of that time belongs to the backfill, if this
// is one.
func (s *Source) inWindow(t time.Time) bool {
	return s.deps.Window == nil || t.Before(s.deps.Window.To)
}

// lookDated lists the hours of a folder that are due, the past first.
func (s *Source) lookDated(ctx context.Context, f *folder, now time.Time) error {
	s.mu.Lock()
	upto := f.upto
	s.mu.Unlock()
	if s.once() {
		return s.catchUp(ctx, f, hourOf(now.Add(ahead)).Add(time.Hour))
	}
	if settled := s.settledHour(now); settled.Sub(upto) > time.Hour {
		if err := s.catchUp(ctx, f, settled); err != nil {
			return err
		}
	}
	s.mu.Lock()
	upto = f.upto
	s.mu.Unlock()
	for hour := upto; !hour.After(hourOf(now.Add(ahead))); hour = hour.Add(time.Hour) {
		if !s.due(f, hour, now) {
			continue
		}
		if err := s.listHours(ctx, f, f.prefix+hourPath(hour), hour, hour.Add(time.Hour), now); err != nil {
			return err
		}
	}
	s.mu.Lock()
	for {
		looked, ok := f.looks[f.upto]
		if !ok || looked.Before(f.upto.Add(time.Hour+s.cfg.LookBack.Std())) {
			break
		}
		delete(f.looks, f.upto)
		f.upto = f.upto.Add(time.Hour)
	}
	s.mu.Unlock()
	s.poll(f, now)
	return nil
}

// due tells whether an hour has to be listed: while it lasts at each poll, then
// less and less often, and once more when nothing can be added any more.
func (s *Source) due(f *folder, hour, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	looked, ok := f.looks[hour]
	if !ok {
		return true
	}
	end := hour.Add(time.Hour)
	if last := end.Add(s.cfg.LookBack.Std()); !now.Before(last) && looked.Before(last) {
		return true
	}
	wait := s.wait(now.Sub(end))
	if s.queue != nil {
		wait = max(wait, s.cfg.Queue.SafetyNet.Std())
	}
	return now.Sub(looked) >= wait
}

// wait is how long to wait between two looks at something of that age.
func (s *Source) wait(age time.Duration) time.Duration { return max(s.cfg.Poll.Std(), age/8) }

// poll queues the blobs of a folder that no listing will show: those that were
// not finished when their hour was closed, and with notifications those that
// are being appended to, since only their creation is announced:
// azure:storage.append-silent
func (s *Source) poll(f *folder, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range f.blobs {
		if b.state != idle || b.closed || !(b.hour.Before(f.upto) && !b.finished() || s.queue != nil && !b.hour.Before(f.upto)) {
			continue
		}
		if now.Sub(b.polled) >= s.wait(now.Sub(b.hour.Add(time.Hour))) {
			b.polled = now
			s.queueLocked(b)
		}
	}
}

// catchUp lists the hours of a folder from upto to limit, by day: the folders of
// a date are walked, so that days without blobs cost nothing.
func (s *Source) catchUp(ctx context.Context, f *folder, limit time.Time) error {
	s.mu.Lock()
	from := f.upto
	s.mu.Unlock()
	if w := s.deps.Window; w != nil && w.To.Before(limit) {
		limit = hourOf(w.To.Add(time.Hour - 1))
	}
	now := s.deps.Now()
	if err := s.walkDates(ctx, f, f.prefix, time.Time{}, 0, from, limit); err != nil {
		return err
	}
	s.passed(f, from, limit, now)
	return nil
}

// walkDates goes down the years, months and days from prefix on, and lists each
// day that has hours from from on and before limit.
func (s *Source) walkDates(ctx context.Context, f *folder, prefix string, date time.Time, level int, from, limit time.Time) error {
	if level == len(levels) {
		s.waitPending(ctx, mostPending/2)
		now := s.deps.Now()
		end := date.AddDate(0, 0, 1)
		if err := s.listHours(ctx, f, prefix, later(date, from), earlier(end, limit), now); err != nil {
			return err
		}
		if !s.once() {
			s.passed(f, from, earlier(end, limit), now)
			return s.retire(ctx, f)
		}
		return nil
	}
	var dirs []string
	for marker := ""; ; {
		p, err := s.list(ctx, f.container, prefix, "/", marker)
		if err != nil {
			return err
		}
		dirs = append(dirs, p.prefixes...)
		if marker = p.next; marker == "" {
			break
		}
	}
	slices.Sort(dirs)                          // which is by time
	for _, dir := range slices.Compact(dirs) { // a page may begin with the last of the one before
		part, err := time.Parse(levels[level].form, dir[len(prefix):])
		if err != nil {
			continue
		}
		start := part
		switch level {
		case 1:
			start = date.AddDate(0, int(part.Month())-1, 0)
		case 2:
			start = date.AddDate(0, 0, part.Day()-1)
		}
		if !levels[level].next(start).After(from) || !start.Before(limit) {
			continue
		}
		if err := s.walkDates(ctx, f, dir, start, level+1, from, limit); err != nil {
			return err
		}
	}
	return nil
}

// passed notes that all hours from from on and before end were listed at now.
func (s *Source) passed(f *folder, from, end, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// To the hours from settled on something may still be added.
	settled := s.settledHour(now)
	if upto := earlier(end, settled); upto.After(f.upto) {
		f.upto = upto
	}
	for hour := later(from, settled); hour.Before(end); hour = hour.Add(time.Hour) {
		f.looks[hour] = now
	}
	for hour := range f.looks {
		if hour.Before(f.upto) {
			delete(f.looks, hour)
		}
	}
}

// listHours lists a prefix and takes in the blobs of the hours from from on and
// before end.
func (s *Source) listHours(ctx context.Context, f *folder, prefix string, from, end, now time.Time) error {
	shown := map[string]bool{}
	for marker := ""; ; {
		p, err := s.list(ctx, f.container, prefix, "", marker)
		if err != nil {
			return err
		}
		for _, it := range p.items {
			_, hour, ok := splitDate(it.name)
			if !ok || hour.Before(from) || !hour.Before(end) || !s.inWindow(hour) {
				continue
			}
			shown[it.name] = true
			s.news(f, it)
		}
		if marker = p.next; marker == "" {
			break
		}
		s.waitPending(ctx, mostPending)
	}
	var missing []*blob
	s.mu.Lock()
	for name, b := range f.blobs {
		if !b.hour.Before(from) && b.hour.Before(end) && !shown[name] {
			missing = append(missing, b)
		}
	}
	for hour := from; hour.Before(end); hour = hour.Add(time.Hour) {
		if !hour.Before(f.upto) {
			f.looks[hour] = now
		}
	}
	s.mu.Unlock()
	for _, b := range missing {
		s.gone(b)
	}
	return nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
