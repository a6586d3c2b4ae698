package eventhubs

import "hash/fnv"

// partitionOf maps a partition key to one of n partitions. Like the service's, the
// choice depends on the key only; the service's own hash is not reproduced.
func partitionOf(key string, n int) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(key))
	return int(h.Sum32() % uint32(n))
}
