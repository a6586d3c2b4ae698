package sink

import "time"

// patience is for how long a sink may fail before others stop expecting that
// it will make room: longer than throttling usually lasts.
const patience = 10 * time.Second

// Relieve makes room where sources wait for it and all that they have read waits
// for sinks. If a required sink has a batch on its way, or a full one, room
// will come of that, and nothing is done. Else what holds the room are batches
// that wait for more events, and the one that is due next is sent now. Only one:
// what is confirmed then may be room enough, and batches stay as large as they
// can be. It is called again for the next one when that has come to its end.
//
// A sink that is down is not waited for, and is left to its retries. Best-effort
// sinks hold no room.
func Relieve(runners []*Runner) {
	var next *Runner
	var first time.Time
	for _, r := range runners {
		if !r.Required() {
			continue
		}
		moving, due := r.queue.look(r.cfg.Delivery.Batch)
		switch {
		case moving && r.down():
		case moving:
			return
		case !due.IsZero() && (next == nil || due.Before(first)):
			next, first = r, due
		}
	}
	if next != nil {
		next.queue.sendEarly()
		next.cfg.Metrics.SinkEarly.WithLabelValues(next.cfg.Name).Inc()
	}
}

// down tells whether the sink has been failing for so long that nothing is to
// be expected of it soon.
func (r *Runner) down() bool {
	since := r.failingSince.Load()
	return since != 0 && time.Since(time.Unix(0, since)) >= patience
}
