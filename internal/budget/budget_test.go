package budget

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestAcquireBlocksAtTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(100)
		ctx := context.Background()
		if err := b.Acquire(ctx, 80); err != nil {
			t.Fatal(err)
		}
		var admitted atomic.Int32
		go func() { _ = b.Acquire(ctx, 30); admitted.Add(1) }()
		synctest.Wait()
		go func() { _ = b.Acquire(ctx, 5); admitted.Add(1) }() // fits, but must not overtake
		synctest.Wait()
		if n := admitted.Load(); n != 0 {
			t.Fatalf("%d admitted over the limit or out of order", n)
		}
		b.Adjust(-80)
		synctest.Wait()
		if n := admitted.Load(); n != 2 || b.Used() != 35 {
			t.Fatalf("admitted %d, used %d; want 2, 35", n, b.Used())
		}
		b.Adjust(-35)
	})
}

func TestAcquireAdmitsABatchLargerThanTheLimitAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(10)
		if err := b.Acquire(context.Background(), 1000); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := b.Acquire(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Acquire = %v while the large batch is in flight, want %v", err, context.DeadlineExceeded)
		}
		b.Adjust(-1000)
		if err := b.Acquire(context.Background(), 1000); err != nil {
			t.Fatal(err)
		}
	})
}

func TestACanceledWaiterLeavesNothingBehind(t *testing.T) {
	b := New(1000)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 1))
			for range 2000 {
				ctx, cancel := context.WithCancel(context.Background())
				if r.IntN(2) == 0 {
					go cancel()
				}
				n := int64(r.IntN(700))
				if b.Acquire(ctx, n) == nil {
					b.Adjust(-n)
					b.Settle()
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if b.Used() != 0 || b.waiting.Len() != 0 || b.working != 0 {
		t.Fatalf("used %d, waiting %d, working %d; want none", b.Used(), b.waiting.Len(), b.working)
	}
}

func TestStalledOnceAllThatWasLetInIsSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(100)
		calls := 0
		b.OnStall(func() { calls++ })
		ctx, cancel := context.WithCancel(t.Context())
		acquire := func(ctx context.Context, n int64) {
			go func() { _ = b.Acquire(ctx, n) }()
			synctest.Wait()
		}
		want := func(when string, stalled bool, n int) {
			t.Helper()
			if b.Stalled() != stalled || calls != n {
				t.Errorf("%s: stalled %v after %d calls, want %v and %d", when, b.Stalled(), calls, stalled, n)
			}
		}
		acquire(ctx, 60)
		acquire(ctx, 40)
		b.Settle()
		want("nobody waits", false, 0)
		acquire(ctx, 30)
		want("one waits while another is at work", false, 0)
		b.Settle()
		want("all work is done", true, 1)
		acquire(ctx, 10)
		want("a second one waits", true, 2)
		b.Adjust(-60)
		want("both were let in", false, 2)
		b.Settle()
		b.Settle()
		acquire(ctx, 90)
		want("another one waits", true, 3)
		cancel()
		synctest.Wait()
		want("it gave up", false, 3)
	})
}
