package eventhubs

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/lazuli-logs/lazuli/internal/azuresim/amqp"
)

// BenchmarkServe measures the broker alone: the client only counts bytes.
func BenchmarkServe(b *testing.B) {
	for _, size := range []int{256, 1024, 16 << 10, 200 << 10} {
		b.Run(fmt.Sprintf("body=%d", size), func(b *testing.B) {
			f := newFixture(b, testOptions(), 1, HubOptions{})
			fillForBenchmark(b, f.hub, size, b.N)
			w := dialWire(b, f.address)
			w.login(testPolicy, testKey)
			w.open(amqp.Open{ContainerID: "bench", MaxFrameSize: 65536})
			w.begin(1 << 30)
			w.attachReceiver(0, testHub+"/ConsumerGroups/$Default/Partitions/0", "amqp.annotation.x-opt-offset > '-1'", nil)
			b.SetBytes(int64(size))
			b.ResetTimer()
			w.send(&amqp.Flow{NextIncomingID: new(uint32), IncomingWindow: 1 << 30, Handle: new(uint32), LinkCredit: 1 << 30})
			for got := 0; got < b.N; {
				if frame := w.frame(); !moreFollows(b, frame) {
					got++
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// moreFollows decodes just the last field of a transfer that AppendTransfer wrote.
func moreFollows(b *testing.B, frame amqp.Frame) bool {
	if len(frame.Body) < 5 || frame.Body[2] != byte(amqp.CodeTransfer) {
		b.Fatalf("got frame % x, want a transfer", frame.Body[:min(len(frame.Body), 16)])
	}
	return frame.Body[4+int(frame.Body[4])] == 0x41
}

// fillForBenchmark stores the same body n times.
func fillForBenchmark(b testing.TB, h *Hub, size, n int) {
	b.Helper()
	body := make([]byte, size)
	bodies := make([][]byte, 1000)
	for i := range bodies {
		bodies[i] = body
	}
	for n > 0 {
		k := min(n, len(bodies))
		if _, err := h.Append(0, bodies[:k]...); err != nil {
			b.Fatal(err)
		}
		n -= k
	}
}

// BenchmarkGoClient measures the Go SDK against a broker in a process of its own.
func BenchmarkGoClient(b *testing.B) {
	for _, size := range []int{1024, 200 << 10} {
		b.Run(fmt.Sprintf("body=%d", size), func(b *testing.B) {
			address := startBrokerProcess(b, size, b.N)
			c, err := azeventhubs.NewConsumerClientFromConnectionString(
				(&Broker{opts: testOptions()}).EmulatorConnectionString(address, testPolicy, ""), testHub, DefaultConsumerGroup, nil)
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = c.Close(context.Background()) }()
			o := earliest()
			o.Prefetch = 1000
			p := reader(b, c, "0", o)
			b.SetBytes(int64(size))
			b.ResetTimer()
			for got := 0; got < b.N; {
				events, err := p.ReceiveEvents(b.Context(), min(500, b.N-got), nil)
				if err != nil {
					b.Fatal(err)
				}
				if s := events[0].SequenceNumber; s != int64(got) {
					b.Fatalf("got sequence %d, want %d", s, got)
				}
				got += len(events)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

const brokerProcessEnv = "LAZULI_TEST_BROKER" // "<body size> <events>"

// startBrokerProcess runs this test binary as a broker and returns its address.
func startBrokerProcess(b *testing.B, size, n int) string {
	b.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestBrokerProcess$")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %d", brokerProcessEnv, size, n))
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = stdin.Close() // ends the process
		_ = cmd.Wait()
	})
	address, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return address[:len(address)-1]
}

// TestBrokerProcess is the broker of BenchmarkGoClient. It ends with its input.
func TestBrokerProcess(t *testing.T) {
	var size, n int
	if _, err := fmt.Sscan(os.Getenv(brokerProcessEnv), &size, &n); err != nil {
		t.Skip("runs only as the server of a benchmark")
	}
	f := newFixture(t, testOptions(), 1, HubOptions{})
	fillForBenchmark(t, f.hub, size, n)
	fmt.Println(f.address)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// BenchmarkAppend measures storing bodies in batches of 100.
func BenchmarkAppend(b *testing.B) {
	for _, disk := range []bool{false, true} {
		b.Run("disk="+strconv.FormatBool(disk), func(b *testing.B) {
			o := testOptions()
			if disk {
				o.DataDir = b.TempDir()
			}
			broker, err := New(o)
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = broker.Close() }()
			h, err := broker.CreateHub(testHub, 1, HubOptions{RetainEvents: 100_000})
			if err != nil {
				b.Fatal(err)
			}
			body := make([]byte, 1024)
			bodies := make([][]byte, 100)
			for i := range bodies {
				bodies[i] = body
			}
			b.SetBytes(100 * 1024)
			for b.Loop() {
				if _, err := h.Append(0, bodies...); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
