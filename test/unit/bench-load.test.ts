/** The parts of the server's benchmarks that a wrong number would hide in: percentiles, lines, replies, versions. */
import assert from "node:assert/strict";
import { createServer } from "node:net";
import { type TestContext, test } from "node:test";
import { type ActionTable, isAction } from "../bench/load/action-table.ts";
import { Caller } from "../bench/load/exchange.ts";
import { floor } from "../bench/load/floors.ts";
import { Latencies } from "../bench/load/latencies.ts";
import { growth } from "../bench/load/memory.ts";
import { runOpenLoop } from "../bench/load/open-loop.ts";
import { ReplyCheck } from "../bench/load/reply-check.ts";
import { httpGet } from "../bench/load/requests.ts";
import { Versions } from "../bench/load/versions.ts";

test("percentiles are nearest ranks of what was added since the last clearing", () => {
  const latencies = new Latencies();
  latencies.add(9000);
  latencies.clear();
  for (let ms = 1; ms <= 100; ms++) latencies.add(ms);
  assert.deepEqual(latencies.summary(), {
    count: 100,
    p50Us: 50e3,
    p99Us: 99e3,
    p999Us: 100e3,
    maxUs: 100e3,
  });
});

test("growth leaves out the first third and is the slope of the rest", () => {
  const warmUp = [1000, 2000, 3000].map((value, seconds) => ({ seconds, value }));
  const rest = Array.from({ length: 6 }, (_, at) => ({ seconds: 3 + at, value: 100 + 2 * at }));
  assert.deepEqual(growth([...warmUp, ...rest]), { mean: 105, range: 10, perSecond: 2, gained: 10 });
});

test("a floor that is not a number does not hold", () => {
  assert.equal(floor("", Number.NaN, { least: 0 }).holds, false);
  assert.equal(floor("", Number.NaN, { most: 1 }).holds, false);
  assert.equal(floor("", 2, { most: 2 }).holds, true);
});

test("a reply that arrives in pieces is one reply", async (context) => {
  const text = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123456789";
  const port = await listen(context, async (write) => {
    for (const piece of text.match(/.{1,7}/gs)!) {
      write(piece);
      await new Promise((resolve) => setImmediate(resolve));
    }
  });
  const caller = new Caller(port);
  const { status, text: body } = await caller.ask(httpGet("/"));
  caller.close();
  assert.deepEqual([status, body], [200, "0123456789"]);
});

test("bytes after a reply are a lost connection, not the next reply", async (context) => {
  const port = await listen(context, (write) => write("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab"));
  await assert.rejects(new Caller(port).ask(httpGet("/")), /1 bytes after a reply/);
});

test("a server that stalls is charged with the requests that waited for it", async (context) => {
  let answered = 0;
  const stallMs = 200;
  const port = await listen(context, async (write) => {
    // The first alone is slow; one connection holds up all the others.
    if (answered++ === 0) await new Promise((resolve) => setTimeout(resolve, stallMs));
    write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  });
  const latencies = new Latencies();
  const order = { port, connections: 1, requestsPerSecond: 100, arrivals: "even", durationMs: 150 } as const;
  const events = { request: () => httpGet("/"), reply: () => {}, lost: assert.fail };
  const { sent, unanswered } = await runOpenLoop({ ...order, ...events }, latencies, new Latencies());
  assert.deepEqual([sent, unanswered], [14, 0]);
  // A closed loop would have one slow request; here half of them waited for more than half of the stall.
  assert.ok(latencies.summary().p50Us >= (stallMs * 1000) / 2, `${latencies.summary().p50Us}`);
});

const TABLE: ActionTable = { variants: 2, agents: 2, actions: 1, data: Float32Array.from([1, 2, 3, 4]) };

test("an action of another variant or agent, or none, is not the one", () => {
  const where = { set: 0, variant: 1, agent: 0 };
  assert.equal(isAction(TABLE, where, [0, 3], 1), true);
  assert.equal(isAction(TABLE, where, [1], 0), false);
  assert.equal(isAction(TABLE, where, [4], 0), false);
  assert.equal(isAction(TABLE, where, [], 0), false);
});

test("replies are mixed, stale or failed by what they name and act", () => {
  const versions = new Versions(["a", "b"]);
  versions.begin(0, 1);
  const rows = [0, 1].map((agent) => ({ set: 0, agent }));
  const kindOf = (named: string, actions: number[], status = 200): object => {
    const outputs = [{ name: "action", data: actions }];
    const body = Buffer.from(JSON.stringify({ parameters: { adapter_versions: named }, outputs }));
    const check = new ReplyCheck(TABLE, versions);
    check.check({ status, head: "", body }, rows, versions.acknowledged);
    const { failed, mixed, stale } = check.wrong;
    return { failed, mixed, stale };
  };
  const right = { failed: 0, mixed: 0, stale: 0 };
  assert.deepEqual(kindOf("a=1,b=1", [1, 2]), right);
  assert.deepEqual(kindOf("a=2,b=1", [3, 2]), right);
  assert.deepEqual(kindOf("a=1,b=1", [3, 2]), { ...right, mixed: 1 });
  assert.deepEqual(kindOf("a=3,b=1", [3, 2]), { ...right, mixed: 1 });
  assert.deepEqual(kindOf("b=1", [1, 2]), { ...right, mixed: 1 });
  assert.deepEqual(kindOf("a=1,b=1", [1, 2], 503), { ...right, failed: 1 });
  assert.equal(versions.acknowledge(0, 2), true);
  assert.deepEqual(kindOf("a=1,b=1", [1, 2]), { ...right, stale: 1 });
});

/** A server that answers every request by `answer`, until the test ends. */
function listen(
  context: TestContext,
  answer: (write: (text: string) => void) => Promise<void> | void,
): Promise<number> {
  const server = createServer((socket) => {
    socket.setNoDelay(true);
    socket.on("data", () => answer((text) => socket.write(text)));
    socket.on("error", () => {});
  });
  context.after(() => server.close());
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => resolve((server.address() as { port: number }).port));
  });
}
