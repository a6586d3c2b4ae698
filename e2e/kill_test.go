package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lazuli-logs/lazuli/internal/azuresim"
)

// TestKilledAtAnyMomentNothingIsLost kills the collector with SIGKILL again and
// again while events pour in and its output fails now and then, and checks by
// the records' own ids that each is in the output or in the dead letters.
func TestKilledAtAnyMomentNothingIsLost(t *testing.T) {
	killAgainAndAgain(t, 25, azuresim.Options{}, hubToFile)
}

// TestKilledOverKafkaNothingIsLost is the same over Kafka, where a member that
// was killed holds up its group until its session is over.
func TestKilledOverKafkaNothingIsLost(t *testing.T) {
	killAgainAndAgain(t, 2, azuresim.Options{Kafka: true}, func(sim *azuresim.Sim, more string) string {
		return fmt.Sprintf(`
sources:
  hub: {type: event_hub, protocol: kafka, kafka_session: 6s, connection_string: %q, endpoint: %q, ca_file: %q, hub: insights, consumer_group: lazuli}
sinks:
  file: {type: file, path: events.ndjson, rotate: {size: 1TiB}}
checkpoint: {path: checkpoints}
dead_letters: {path: dead-letters}
telemetry: {listen: ""}
%s`, sim.Endpoints.NamespaceConnectionString, sim.Endpoints.Kafka, sim.Endpoints.CAFile, more)
	})
}

func killAgainAndAgain(t *testing.T, kills int, options azuresim.Options, configuration func(sim *azuresim.Sim, more string) string) {
	t.Helper()
	const rate = 4000 // events a second
	seed := seedOf(t)
	r := rand.New(rand.NewPCG(seed, 1))
	options.Seed, options.RetainBytes = seed, -1
	sim := startSim(t, options)
	dir, file := writeConfig(t, configuration(sim, "limits: {in_flight: 8MiB}\n"))
	output := filepath.Join(dir, "events.ndjson")

	producing, stopProducing := context.WithCancel(t.Context())
	defer stopProducing()
	produced := make(chan error, 1)
	go func() {
		_, err := sim.Produce(producing, 0, rate)
		produced <- err
	}()

	failures := 0
	for life := range kills {
		p := start(t, hubEnv(sim), nil, "run", "-c", file)
		before := written(t, dir)
		p.eventually(t, 90*time.Second, "the output grows after a start", func() bool { return written(t, dir) > before })
		for until := time.Duration(r.IntN(1200)) * time.Millisecond; until > 0; {
			step := time.Duration(50+r.IntN(200)) * time.Millisecond
			if r.IntN(3) == 0 { // the disk is full for a moment, in the middle of a write
				limitFiles(t, p, uint64(size(output))+uint64(r.IntN(5000)))
				failures++
				pause(t, step)
				limitFiles(t, p, unix.RLIM_INFINITY)
			} else {
				pause(t, step)
			}
			until -= step
		}
		if life%2 == 0 { // for longer than from one time that positions are saved to the next
			limitFiles(t, p, uint64(size(output)))
			failures++
			pause(t, 1200*time.Millisecond)
		}
		p.kill()
	}
	stopProducing()
	if err := <-produced; err != nil {
		t.Fatal(err)
	}
	if last := execute(t, "", hubEnv(sim), "run", "-c", file, "--once"); last.status != 0 {
		t.Fatalf("the last run ended with status %d:\n%s", last.status, last.stderr)
	}

	ledger := sim.Ledger.Fresh()
	files := outputs(t, dir)
	if letters := filepath.Join(dir, "dead-letters", "letters.ndjson"); size(letters) > 0 {
		files = append(files, letters)
	}
	if err := ledger.ReadFiles(files...); err != nil {
		t.Fatal(err)
	}
	report := ledger.Report()
	t.Logf("%d kills, %d times a full disk: %v", kills, failures, report)
	if report.Lost > 0 || report.Unknown > 0 || report.NoID > 0 {
		t.Errorf("%v; lost for example %v", report, ledger.Lost(5))
	}
	if report.Produced < uint64(kills)*100 {
		t.Errorf("only %d records: the collector was never under load", report.Produced)
	}
	// A crash repeats what was confirmed and not yet saved (positions are saved
	// every second), and what was in flight (8 MiB of events of 3 KiB or more).
	if limit := uint64(kills * (2*rate + 8<<20/3000)); report.Duplicated > limit {
		t.Errorf("%d repeats, more than %d crashes can explain (%d)", report.Duplicated, kills, limit)
	}
	if data, err := os.ReadFile(output); err != nil || len(data) > 0 && data[len(data)-1] != '\n' {
		t.Errorf("the output ends in half a line (%v)", err)
	}
}

// limitFiles is a disk that is full: no file grows beyond so many bytes.
func limitFiles(t *testing.T, p *process, bytes uint64) {
	t.Helper()
	if err := unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: unix.RLIM_INFINITY}, nil); err != nil {
		t.Fatal(err)
	}
}

// pause lets the collector work: what is tested is what happens at random times.
func pause(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}
