package azuresim

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

const killedFolder = "AZURESIM_TEST_DATA_DIR"

// TestKilledProcess is not a test by itself: TestKill runs it in a process of
// its own, which produces until it is killed.
func TestKilledProcess(t *testing.T) {
	folder := os.Getenv(killedFolder)
	if folder == "" {
		t.Skip("runs only as a process that is killed")
	}
	s, err := Start(t.Context(), Options{Seed: 3, DataDir: folder, RetainBytes: -1, RecordsPerMessage: 5, Prepared: 20})
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := s.Produce(t.Context(), 500, 0); err != nil {
			t.Fatal(err)
		}
		fmt.Println("produced")
	}
}

func TestKill(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	for round := range 3 {
		process := exec.CommandContext(t.Context(), program, "-test.run=^TestKilledProcess$", "-test.v")
		process.Env = append(os.Environ(), killedFolder+"="+folder)
		output, err := process.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := process.Start(); err != nil {
			t.Fatal(err)
		}
		// The lines come while it goes on, so the kill strikes anywhere.
		lines := bufio.NewScanner(output)
		for seen := 0; seen < 3+round && lines.Scan(); {
			if strings.Contains(lines.Text(), "produced") {
				seen++
			}
		}
		if err := process.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = process.Wait() // it was killed, and says so

		s := start(t, Options{Seed: 3, DataDir: folder, RetainBytes: -1, Prepared: 20})
		if _, err := s.Produce(t.Context(), 100, 0); err != nil {
			t.Fatal(err)
		}
		report := drain(t, s).Report()
		if report.Lost != 0 || report.Duplicated != 0 || report.Unknown != 0 || report.Produced < uint64(1600*(round+1)) {
			t.Errorf("round %d: %s", round, report)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
