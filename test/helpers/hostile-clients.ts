/** Clients that misbehave on purpose, and what a server is to be after them. Not what they send. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import type { TestContext } from "node:test";
import type { ServerOptions } from "../../server/app.ts";
import type { TinyOptions } from "./tiny-models.ts";
import { ask, serveTiny, type TinyServer } from "./tiny-server.ts";

export const INFER = "/v2/models/team/infer";

/** A sound request to a team of two agents of three observations. */
export const SOUND = JSON.stringify({
  inputs: [{ name: "obs", datatype: "FP32", shape: [1, 2, 3], data: [1, 2, 3, 4, 5, 6] }],
});

export const ALIVE = "GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n";

/** Closing does not wait long for what a test has broken. */
export function serve(
  context: TestContext,
  model: TinyOptions,
  options: Partial<ServerOptions> = {},
): Promise<TinyServer> {
  return serveTiny(context, model, { drainTimeoutMs: 1000, ...options });
}

export function portOf({ url }: Pick<TinyServer, "url">): number {
  return Number(new URL(url).port);
}

/** A connection on which something was sent, destroyed when the test ends. */
export async function open(
  context: TestContext,
  served: TinyServer,
  bytes: Buffer | string,
): Promise<Socket> {
  const socket = connect({ port: portOf(served), host: "127.0.0.1", allowHalfOpen: true });
  context.after(() => socket.destroy());
  socket.on("error", () => undefined);
  await once(socket, "connect");
  if (bytes.length > 0) socket.write(bytes);
  return socket;
}

export function flushed(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.write("", () => resolve()));
}

/** Sends a byte every few milliseconds for as long as the server listens, and gives what it answers. */
export function dribble(served: TinyServer, text: string): Promise<string> {
  return new Promise((resolve) => {
    let reply = "";
    const socket = connect(portOf(served), "127.0.0.1");
    socket.on("data", (chunk) => {
      reply += chunk.toString("latin1");
    });
    let at = 0;
    const timer = setInterval(() => socket.write(text[at++] ?? " "), 5);
    socket.on("error", () => undefined);
    socket.on("close", () => {
      clearInterval(timer);
      resolve(reply);
    });
  });
}

/** Requests that have begun and are not answered, this one among them. */
export async function inflight(served: TinyServer): Promise<number> {
  const { text } = await ask(`${served.url}/metrics`);
  return Number(/^lorasa_inflight (\d+)$/m.exec(text)?.[1]);
}

/** Sooner or later no request is under way but the one that asks, and no fault was seen. */
export async function assertIdle(served: TinyServer): Promise<void> {
  await eventually(async () => (await inflight(served)) === 1);
  assert.deepEqual(served.faults, []);
}

/** Looks again until it is so; the test's own timeout ends what never is. */
export async function eventually(condition: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 300; tries++) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.fail("it never came to be");
}
