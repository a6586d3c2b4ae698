// Writes, reads, lists and leases blobs, and passes messages through a queue,
// with Microsoft's clients. Usage: node storage.mjs CONNECTION_STRING SAS_URL
import { BlobServiceClient, ContainerClient } from "@azure/storage-blob";
import { QueueServiceClient } from "@azure/storage-queue";
import assert from "node:assert/strict";

const [connectionString, signedURL] = process.argv.slice(2);
let checks = 0;
const same = (got, want) => {
  assert.deepEqual(got, want);
  checks++;
};
const refused = async (promise, status, code) => {
  try {
    await promise;
  } catch (e) {
    same([e.statusCode, e.code ?? e.details?.errorCode], [status, code]);
    return;
  }
  assert.fail(`not refused with ${code}`);
};
const text = async (response) => {
  let all = "";
  for await (const chunk of response.readableStreamBody) all += chunk;
  return all;
};

const blobs = BlobServiceClient.fromConnectionString(connectionString);
const container = blobs.getContainerClient("logs");
await container.create();
await refused(container.create(), 409, "ContainerAlreadyExists");

// An append blob that grows.
const hour = container.getAppendBlobClient("resourceId=/A b/y=2026/m=01/PT1H.json");
await hour.create({ metadata: { purpose: "tests" } });
for (const line of ["one\n", "zwei ü\n", "three\n"]) await hour.appendBlock(line, Buffer.byteLength(line));
same(await text(await hour.download()), "one\nzwei ü\nthree\n");
same(await text(await hour.download(4, 8)), "zwei ü\n");
const properties = await hour.getProperties();
same([properties.blobType, properties.blobCommittedBlockCount, properties.metadata.purpose], ["AppendBlob", 3, "tests"]);
await refused(hour.appendBlock("x", 1, { conditions: { appendPosition: 3 } }), 412, "AppendPositionConditionNotMet");
await refused(hour.download(0, undefined, { conditions: { ifMatch: '"0x0"' } }), 412, "ConditionNotMet");
await refused(hour.download(1000), 416, "InvalidRange");

// A block blob that is written anew with more blocks.
const flow = container.getBlockBlobClient("flow.json");
const id = (n) => Buffer.from(String(n).padStart(8, "0")).toString("base64");
await flow.stageBlock(id(0), '{"records":[', 12);
await flow.stageBlock(id(1), "{}", 2);
await flow.stageBlock(id(9), "]}", 2);
await flow.commitBlockList([id(0), id(1), id(9)]);
same(await text(await flow.download()), '{"records":[{}]}');
same((await flow.getBlockList("all")).committedBlocks.map((b) => b.size), [12, 2, 2]);
await flow.uploadData(Buffer.alloc(5 << 20, "x"), { blockSize: 1 << 20, maxSingleShotSize: 1 << 20 });
same((await flow.downloadToBuffer()).length, 5 << 20);

// Listing.
const flat = [];
for await (const page of container.listBlobsFlat({ includeMetadata: true }).byPage({ maxPageSize: 1 })) flat.push(...page.segment.blobItems.map((b) => b.name));
same(flat, ["flow.json", "resourceId=/A b/y=2026/m=01/PT1H.json"]);
const tree = [];
for await (const item of container.listBlobsByHierarchy("/", { prefix: "resourceId=/A b/" })) tree.push(item.name);
same(tree, ["resourceId=/A b/y=2026/"]);

// Leases.
const lease = hour.getBlobLeaseClient();
await lease.acquireLease(15);
await refused(hour.appendBlock("x", 1), 412, "LeaseIdMissing");
await hour.appendBlock("x", 1, { conditions: { leaseId: lease.leaseId } });
await lease.releaseLease();
await hour.delete();
await refused(hour.getProperties(), 404, "BlobNotFound");

// A signature that may only read and list.
const signed = new ContainerClient(signedURL);
same((await signed.getBlockBlobClient("flow.json").downloadToBuffer(0, 3)).toString(), "xxx");
await refused(signed.getBlockBlobClient("flow.json").delete(), 403, "AuthorizationPermissionMismatch");

// A queue.
const queue = QueueServiceClient.fromConnectionString(connectionString).getQueueClient("notices");
await queue.create();
await queue.sendMessage("<a & b>");
const { receivedMessageItems } = await queue.receiveMessages({ numberOfMessages: 32, visibilityTimeout: 60 });
same(receivedMessageItems.map((m) => [m.messageText, m.dequeueCount]), [["<a & b>", 1]]);
same((await queue.receiveMessages()).receivedMessageItems.length, 0);
await refused(queue.deleteMessage(receivedMessageItems[0].messageId, "AAAA"), 400, "PopReceiptMismatch");
await queue.deleteMessage(receivedMessageItems[0].messageId, receivedMessageItems[0].popReceipt);
same((await queue.getProperties()).approximateMessagesCount, 0);

console.log(`ok ${checks}`);
