/** A running server of tiny models for one test, and plain ways to ask it. */
import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import { type ServerOptions, startServer } from "../../server/app.ts";
import { ServerClient } from "../../server/client.ts";
import { temporaryFolder } from "./temporary-folder.ts";
import { type TinyOptions, TinyPolicy, writeTinyRepository } from "./tiny-models.ts";

export const TOKEN = "a token for tests";

export interface TinyServer {
  readonly policy: TinyPolicy;
  /** With the token, when the server was started with one. */
  readonly client: ServerClient;
  readonly url: string;
  readonly repository: string;
  /** Faults that the server reported. */
  readonly faults: unknown[];
  close(): Promise<void>;
}

/** Serves one model on a free port until the test ends. */
export async function serveTiny(
  context: TestContext,
  model: TinyOptions,
  options: Partial<ServerOptions> = {},
): Promise<TinyServer> {
  const repository = temporaryFolder(context);
  writeTinyRepository(repository, [model]);
  const faults: unknown[] = [];
  const onFault = (error: unknown): void => {
    faults.push(error);
  };
  const server = await startServer({ repository, port: 0, onFault, ...options });
  const client = new ServerClient(server.url, options.token === undefined ? {} : { token: options.token });
  context.after(async () => {
    client.close();
    await server.close();
  });
  return { policy: new TinyPolicy(model), client, url: server.url, repository, faults, close: server.close };
}

export interface TextReply {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

export async function ask(url: string, init: RequestInit = {}): Promise<TextReply> {
  const reply = await fetch(url, init);
  return { status: reply.status, headers: reply.headers, text: await reply.text() };
}

/** Asserts an error reply: its status, JSON with `error` alone, one line that matches, nothing of the inside. */
export function assertErrorReply(reply: TextReply, status: number, message: RegExp, what = ""): void {
  assert.equal(reply.status, status, `${what}: ${reply.text}`);
  const body = JSON.parse(reply.text) as Record<string, unknown>;
  assert.deepEqual(Object.keys(body), ["error"], what);
  const text = String(body["error"]);
  assert.match(text, message, what);
  assert.doesNotMatch(text, /\n|\.ts\b|\bat \w+ \(|\/tmp\/|node_modules/, what);
}
