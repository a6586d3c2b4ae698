package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/lazuli-logs/lazuli/internal/azuresim"
)

// serve runs the simulator with a full hub until it is interrupted.
func serve(setup string) error {
	var records, partitions, megabytes int
	if _, err := fmt.Sscan(setup, &records, &partitions, &megabytes); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	sim, err := azuresim.Start(context.Background(), azuresim.Options{Seed: 1, Partitions: partitions, RecordsPerMessage: records, RetainBytes: -1})
	if err != nil {
		return err
	}
	l := load{Endpoints: sim.Endpoints}
	for read := make([]int64, partitions); l.Bytes < int64(megabytes)*1e6; {
		n, err := sim.Produce(ctx, 10_000, 0)
		if err != nil {
			return err
		}
		l.Events += n
		if err := l.add(sim, read); err != nil {
			return err
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(l); err != nil {
		return err
	}
	<-ctx.Done()
	return sim.Close()
}

// add counts what is new in the hub; read holds the next sequence number of
// each partition.
func (l *load) add(sim *azuresim.Sim, read []int64) error {
	hub, _ := sim.Broker.Hub(sim.Endpoints.Hubs[0])
	for i := range read {
		for {
			events, err := hub.Read(i, read[i], 1000)
			if err != nil {
				return err
			}
			if len(events) == 0 {
				break
			}
			for _, e := range events {
				l.Bytes += int64(len(e.Body))
				l.Messages++
			}
			read[i] = events[len(events)-1].Sequence + 1
		}
	}
	return nil
}

// readBare is the least that a client of Microsoft's can do: receive every
// message and count its bytes.
func readBare(setup string) error {
	var l load
	if err := json.Unmarshal([]byte(setup), &l); err != nil {
		return err
	}
	client, err := azeventhubs.NewConsumerClientFromConnectionString(l.Endpoints.ConnectionString, l.Endpoints.Hubs[0], "lazuli", nil)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	defer client.Close(ctx)
	var mu sync.Mutex
	var total int64
	var errs []error
	var wg sync.WaitGroup
	for i := range l.Endpoints.Partitions {
		wg.Go(func() {
			n, err := readPartition(ctx, client, fmt.Sprint(i))
			mu.Lock()
			defer mu.Unlock()
			total += n
			errs = append(errs, err)
		})
	}
	wg.Wait()
	if total != l.Bytes {
		errs = append(errs, fmt.Errorf("read %d bytes of %d", total, l.Bytes))
	}
	return errors.Join(errs...)
}

func readPartition(ctx context.Context, client *azeventhubs.ConsumerClient, id string) (total int64, err error) {
	properties, err := client.GetPartitionProperties(ctx, id, nil)
	if err != nil || properties.IsEmpty {
		return 0, err
	}
	earliest := true
	p, err := client.NewPartitionClient(id, &azeventhubs.PartitionClientOptions{
		StartPosition: azeventhubs.StartPosition{Earliest: &earliest}, Prefetch: 500,
	})
	if err != nil {
		return 0, err
	}
	defer p.Close(ctx)
	for {
		// ReceiveEvents waits for a full count: one, and the rest is prefetched.
		events, err := p.ReceiveEvents(ctx, 1, nil)
		if err != nil {
			return total, err
		}
		for _, e := range events {
			total += int64(len(e.Body))
			if e.SequenceNumber == properties.LastEnqueuedSequenceNumber {
				return total, nil
			}
		}
	}
}

func countLines(path string) (n uint64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<20)
	buf := make([]byte, 1<<20)
	for {
		k, err := r.Read(buf)
		n += uint64(bytes.Count(buf[:k], []byte("\n")))
		if errors.Is(err, io.EOF) {
			return n, nil
		} else if err != nil {
			return n, err
		}
	}
}
