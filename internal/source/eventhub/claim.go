package eventhub

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sort"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
)

// Ownership is how instances share the partitions of a consumer group: the part
// of azeventhubs.CheckpointStore that is about owners. The rules are those of
// every SDK: a claim is renewed about every 10 s, is void after 60 s or when
// its owner is "", and is taken by a conditional write, so one instance wins.
type Ownership interface {
	ListOwnership(ctx context.Context, namespace, hub, group string, o *azeventhubs.ListOwnershipOptions) ([]azeventhubs.Ownership, error)
	ClaimOwnership(ctx context.Context, claims []azeventhubs.Ownership, o *azeventhubs.ClaimOwnershipOptions) ([]azeventhubs.Ownership, error)
}

// claims keeps this instance's share of the partitions. It is not concurrent.
type claims struct {
	store  Ownership // nil: this instance is alone and reads every partition
	target Target
	me     string
	expiry time.Duration
	now    func() time.Time
	random *rand.Rand
}

// round renews what is held, claims what is free, takes from owners that have
// too much, and returns the partitions that are this instance's now. On an error
// nothing is known: what was held may still be read, because a new owner will
// take the link away.
func (c *claims) round(ctx context.Context, partitions []string) ([]string, error) {
	if c.store == nil {
		return partitions, nil
	}
	t := c.target
	all, err := c.store.ListOwnership(ctx, t.FullyQualifiedNamespace, t.Hub, t.ConsumerGroup, nil)
	if err != nil {
		return nil, fmt.Errorf("list the owners of partitions: %w", err)
	}
	// Not cut short by a shutdown: a write on its way when release looks at the
	// owners would be carried out behind its back.
	writing, cancel := context.WithTimeout(context.WithoutCancel(ctx), claimTimeout)
	defer cancel()
	held, err := c.store.ClaimOwnership(writing, c.balance(all, partitions), nil)
	if err != nil {
		return nil, fmt.Errorf("claim partitions: %w", err)
	}
	owned := make([]string, len(held))
	for i, o := range held {
		owned[i] = o.PartitionID
	}
	return owned, nil
}

// balance returns the claims to write: all of ours, and as many more as make
// the shares even. Free partitions first; then one at a time from whoever has
// the most, while that owner has at least two more than we do.
func (c *claims) balance(all []azeventhubs.Ownership, partitions []string) []azeventhubs.Ownership {
	exists := make(map[string]bool, len(partitions))
	for _, p := range partitions {
		exists[p] = true
	}
	byOwner := map[string][]azeventhubs.Ownership{c.me: nil}
	var free []azeventhubs.Ownership
	known := map[string]bool{}
	for _, o := range all {
		if !exists[o.PartitionID] {
			continue // left over from a hub with more partitions
		}
		known[o.PartitionID] = true
		if o.OwnerID == "" || c.now().Sub(o.LastModifiedTime) > c.expiry {
			free = append(free, o)
			continue
		}
		byOwner[o.OwnerID] = append(byOwner[o.OwnerID], o)
	}
	for _, p := range partitions {
		if !known[p] {
			free = append(free, azeventhubs.Ownership{
				FullyQualifiedNamespace: c.target.FullyQualifiedNamespace,
				EventHubName:            c.target.Hub,
				ConsumerGroup:           c.target.ConsumerGroup,
				PartitionID:             p,
			})
		}
	}
	c.random.Shuffle(len(free), func(i, j int) { free[i], free[j] = free[j], free[i] })

	mine := byOwner[c.me]
	delete(byOwner, c.me)
	owners := make([]string, 0, len(byOwner))
	for owner := range byOwner {
		owners = append(owners, owner)
	}
	sort.Strings(owners)
	share := (len(partitions) + len(owners)) / (len(owners) + 1) // rounded up
	for len(mine) < share && len(free) > 0 {
		mine, free = append(mine, free[0]), free[1:]
	}
	for len(free) == 0 {
		richest := ""
		for _, owner := range owners {
			if richest == "" || len(byOwner[owner]) > len(byOwner[richest]) {
				richest = owner
			}
		}
		theirs := byOwner[richest]
		if len(theirs) < len(mine)+2 {
			break
		}
		i := c.random.IntN(len(theirs))
		mine = append(mine, theirs[i])
		theirs[i] = theirs[len(theirs)-1]
		byOwner[richest] = theirs[:len(theirs)-1]
	}
	for i := range mine {
		mine[i].OwnerID = c.me
	}
	return mine
}

// claimTimeout bounds the writes of one round.
const claimTimeout = 10 * time.Second

// release gives every claim back, so that others need not wait for it to
// expire. It asks the store what is ours: a round that failed may have written
// claims that it could not report.
func (c *claims) release(ctx context.Context) error {
	if c.store == nil {
		return nil
	}
	fail := func(err error) error {
		return fmt.Errorf("release partitions (others take them over in %v): %w", c.expiry, err)
	}
	t := c.target
	all, err := c.store.ListOwnership(ctx, t.FullyQualifiedNamespace, t.Hub, t.ConsumerGroup, nil)
	if err != nil {
		return fail(err)
	}
	var mine []azeventhubs.Ownership
	for _, o := range all {
		if o.OwnerID == c.me {
			o.OwnerID = ""
			mine = append(mine, o)
		}
	}
	// What another instance takes in this moment is left out: it needs no release.
	if _, err := c.store.ClaimOwnership(ctx, mine, nil); err != nil {
		return fail(err)
	}
	return nil
}
