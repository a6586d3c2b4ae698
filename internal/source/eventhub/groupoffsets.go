package eventhub

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/lazuli-logs/lazuli/internal/checkpoint"
)

// GroupOffsets keeps positions where Kafka clients do: in the consumer group, on
// the service. It implements checkpoint.Store for one KafkaSource, while that
// is a member of the group. Only the member that owns a partition may save its
// position: the service refuses others.
type GroupOffsets struct {
	before checkpoint.Store

	mu        sync.Mutex
	client    *kgo.Client // nil: not a member; guarded by mu
	topic     string
	committed map[int32]int64 // next offset to read, by partition; guarded by mu
}

// NewGroupOffsets returns a store. before, if not nil, is asked where the group
// has no position yet: there are those that were reached over AMQP.
func NewGroupOffsets(before checkpoint.Store) *GroupOffsets {
	return &GroupOffsets{before: before, committed: map[int32]int64{}}
}

// use binds the store to a membership, or, with nil, to none.
func (g *GroupOffsets) use(client *kgo.Client, topic string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.client, g.topic = client, topic
	g.committed = map[int32]int64{}
}

// fetched notes what the group has of partitions that we were given.
func (g *GroupOffsets) fetched(offsets map[int32]kgo.Offset) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for partition, offset := range offsets {
		delete(g.committed, partition)
		if at := offset.EpochOffset().Offset; at >= 0 {
			g.committed[partition] = at
		}
	}
}

// Load implements checkpoint.Store.
func (g *GroupOffsets) Load(ctx context.Context, k checkpoint.Key) (checkpoint.Cursor, error) {
	partition, err := kafkaPartition(k)
	if err != nil {
		return "", err
	}
	g.mu.Lock()
	next, has := g.committed[partition]
	g.mu.Unlock()
	if has {
		return position{sequence: next - 1}.cursor(), nil
	}
	if g.before != nil {
		return g.before.Load(ctx, k)
	}
	return "", nil
}

// Save implements checkpoint.Store.
func (g *GroupOffsets) Save(ctx context.Context, k checkpoint.Key, c checkpoint.Cursor) error {
	partition, err := kafkaPartition(k)
	if err != nil {
		return err
	}
	at, err := parseCursor(c)
	if err != nil {
		return err
	}
	g.mu.Lock()
	client, topic := g.client, g.topic
	g.mu.Unlock()
	if client == nil {
		return errors.New("commit an offset: not a member of the consumer group")
	}
	// As long as a session, so that a broker that hangs does not hang us.
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var failure error
	client.CommitOffsetsSync(ctx, map[string]map[int32]kgo.EpochOffset{topic: {partition: {Epoch: -1, Offset: at.sequence + 1}}},
		func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, response *kmsg.OffsetCommitResponse, err error) {
			if failure = err; err != nil {
				return
			}
			for _, t := range response.Topics {
				for _, p := range t.Partitions {
					failure = errors.Join(failure, kerr.ErrorForCode(p.ErrorCode))
				}
			}
		})
	if failure == nil {
		failure = ctx.Err()
	}
	if failure != nil {
		return fmt.Errorf("commit offset %d of partition %d: %w", at.sequence+1, partition, failure)
	}
	g.mu.Lock()
	g.committed[partition] = at.sequence + 1
	g.mu.Unlock()
	return nil
}

// List implements checkpoint.Store. It knows the partitions that were given to
// this member.
func (g *GroupOffsets) List(_ context.Context, source string) ([]checkpoint.Entry, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var entries []checkpoint.Entry
	for partition, next := range g.committed {
		entries = append(entries, checkpoint.Entry{
			Key:    checkpoint.Key{Source: source, Partition: strconv.Itoa(int(partition))},
			Cursor: position{sequence: next - 1}.cursor(),
		})
	}
	return entries, nil
}

func kafkaPartition(k checkpoint.Key) (int32, error) {
	n, err := strconv.ParseInt(k.Partition, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("partition %q is not a number", k.Partition)
	}
	return int32(n), nil
}
