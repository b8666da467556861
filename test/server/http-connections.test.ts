/** What connections may do to a server, without what they ask: replies that nobody reads, draining in its order. */
import assert from "node:assert/strict";
import type { RequestListener } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { Connections } from "../../server/http/connections.ts";
import { createListener, listen } from "../../server/http/listen.ts";

async function open(context: TestContext, requestTimeoutMs: number, listener: RequestListener) {
  const server = createListener(requestTimeoutMs, undefined);
  const connections = new Connections(server, listener, {
    maxConnections: 10,
    requestTimeoutMs,
    failed: (_response, error) => assert.fail(String(error)),
  });
  await listen(server, "127.0.0.1", 0);
  context.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const dial = (): Socket => {
    const socket = connect(port, "127.0.0.1");
    socket.on("error", () => undefined);
    context.after(() => socket.destroy());
    return socket;
  };
  return { connections, dial };
}

const GET = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

test("a client that never reads its reply is let go", { timeout: 20_000 }, async (context) => {
  // More than the system's buffers take.
  const reply = Buffer.alloc(64 * 2 ** 20);
  let letGo: () => void;
  const gone = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  const { connections, dial } = await open(context, 100, (_request, response) => {
    response.once("close", () => letGo());
    response.end(reply);
  });
  const socket = dial().pause();
  socket.write(GET);
  await gone;
  assert.equal(connections.requests, 0);
  let bytes = 0;
  socket.on("data", (chunk) => {
    bytes += chunk.length;
  });
  socket.resume();
  await closed(socket);
  assert.ok(bytes < reply.length, "it was sent to its end");
});

test("draining waits for what has begun, listens on meanwhile, and then ends kept-alive connections", async (context) => {
  const held: (() => void)[] = [];
  const { connections, dial } = await open(context, 60_000, (request, response) => {
    if (request.url === "/held") held.push(() => response.end("held"));
    else response.end("probe");
  });
  const answers = (socket: Socket): Promise<string> =>
    new Promise((resolve) => socket.once("data", (chunk) => resolve(chunk.toString("utf8"))));
  const idle = dial();
  idle.write(GET);
  assert.match(await answers(idle), /probe$/);
  const waiting = dial();
  waiting.write(GET.replace("/", "/held"));
  while (held.length === 0) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(connections.requests, 1);
  let drained = false;
  const draining = connections.drain(60_000).then(() => {
    drained = true;
  });
  const probe = dial();
  probe.write(GET);
  assert.match(await answers(probe), /probe$/);
  assert.equal(drained, false);
  const answered = answers(waiting);
  held[0]!();
  assert.match(await answered, /held$/);
  await draining;
  await Promise.all([idle, waiting, probe].map(closed));
});

test("draining ends in time what never ends by itself", { timeout: 20_000 }, async (context) => {
  let begun: () => void;
  const arrived = new Promise<void>((resolve) => {
    begun = resolve;
  });
  const { connections, dial } = await open(context, 60_000, () => begun());
  const socket = dial();
  socket.write(GET);
  await arrived;
  await connections.drain(50);
  await closed(socket);
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(connections.requests, 0);
});

function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.closed) resolve();
    else socket.once("close", () => resolve());
  });
}
