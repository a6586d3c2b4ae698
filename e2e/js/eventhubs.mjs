// Sends and receives through an Event Hubs namespace with Microsoft's client and
// checks what comes back. Usage: node eventhubs.mjs <connection string> <hub>
// The hub has 4 partitions and no events. Exits with 1 on the first difference.
import assert from "node:assert/strict";
import {
  EventHubBufferedProducerClient,
  EventHubConsumerClient,
  EventHubProducerClient,
  earliestEventPosition,
} from "@azure/event-hubs";

const [connectionString, hub] = process.argv.slice(2);
const options = { retryOptions: { retryDelayInMs: 50, maxRetries: 3, timeoutInMs: 20_000 } };
const keys = Array.from({ length: 30 }, (_, i) => `tenant-${i}`);
const large = "0123456789".repeat(30_000); // 300 KB: several frames each way

async function send() {
  const producer = new EventHubProducerClient(connectionString, hub, options);
  assert.deepEqual(await producer.getPartitionIds(), ["0", "1", "2", "3"]);
  const empty = await producer.getPartitionProperties("3");
  assert.equal(empty.isEmpty, true);
  assert.equal(empty.lastEnqueuedSequenceNumber, -1);

  const batch = await producer.createBatch({ partitionId: "3" });
  for (let i = 0; i < 3; i++) {
    assert.ok(batch.tryAdd({ body: `small ${i}`, properties: { index: i }, contentType: "text/plain", messageId: `m${i}` }));
  }
  assert.ok(batch.tryAdd({ body: Buffer.from(large) }));
  await producer.sendBatch(batch);
  await producer.sendBatch([{ body: { json: [1, 2.5, null] } }], { partitionId: "3" });

  for (const key of keys) {
    await producer.sendBatch([{ body: `${key} first` }, { body: `${key} second` }], { partitionKey: key });
  }
  const tooLarge = await producer.createBatch();
  assert.equal(tooLarge.tryAdd({ body: Buffer.alloc(2 << 20) }), false);
  await producer.close();

  // This client computes the partition of a key itself.
  const errors = [];
  const buffered = new EventHubBufferedProducerClient(connectionString, hub, {
    ...options,
    maxWaitTimeInMs: 50,
    onSendEventsErrorHandler: async (e) => void errors.push(e.error),
  });
  for (const key of keys) {
    await buffered.enqueueEvent({ body: `${key} third` }, { partitionKey: key });
  }
  await buffered.flush();
  await buffered.close();
  assert.deepEqual(errors, []);
  return 5 + 3 * keys.length;
}

async function receive(count) {
  const consumer = new EventHubConsumerClient("$Default", connectionString, hub, options);
  const byPartition = new Map();
  let received = 0;
  await new Promise((resolve, reject) => {
    consumer.subscribe(
      {
        async processEvents(events, context) {
          const list = byPartition.get(context.partitionId) ?? [];
          list.push(...events);
          byPartition.set(context.partitionId, list);
          received += events.length;
          if (received >= count) resolve();
        },
        async processError(error) {
          reject(error);
        },
      },
      { startPosition: earliestEventPosition, maxBatchSize: 50, maxWaitTimeInSeconds: 0.1 },
    );
  });
  await consumer.close();
  assert.equal(received, count);
  return byPartition;
}

function check(byPartition) {
  for (const [partition, events] of byPartition) {
    for (let i = 0; i < events.length; i++) {
      assert.equal(events[i].sequenceNumber, i, `partition ${partition}: sequence numbers`);
      assert.notEqual(events[i].offset, String(i));
      assert.ok(Math.abs(events[i].enqueuedTimeUtc - Date.now()) < 600_000);
    }
  }
  const own = byPartition.get("3");
  for (let i = 0; i < 3; i++) {
    assert.equal(own[i].body, `small ${i}`);
    assert.deepEqual(own[i].properties, { index: i });
    assert.equal(own[i].contentType, "text/plain");
    assert.equal(own[i].messageId, `m${i}`);
  }
  assert.equal(own[3].body.toString(), large);
  assert.deepEqual(own[4].body, { json: [1, 2.5, null] });
  for (const key of keys) {
    const found = [...byPartition].flatMap(([partition, events]) =>
      events.filter((e) => String(e.body).startsWith(`${key} `)).map((e) => `${partition}: ${e.body} ${e.partitionKey}`));
    const partition = found[0]?.[0];
    // The buffered client sends to a partition, so its events carry no key.
    assert.deepEqual(found, [`first ${key}`, `second ${key}`, "third undefined"].map((n) => `${partition}: ${key} ${n}`));
  }
}

const count = await send();
check(await receive(count));
console.log(`ok ${count}`);
process.exit(); // the closed buffered client keeps a timer of 10 s
