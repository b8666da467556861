/** A server of a test's own making: keeps what it was asked and answers what the test says. No protocol of its own. */
import { createServer, type IncomingHttpHeaders, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";

export interface FakeRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

export interface FakeServer {
  readonly url: string;
  /** Whole requests in the order in which they came. */
  readonly requests: readonly FakeRequest[];
}

/** @param index of the request, from 0. */
export type FakeAnswer = (request: FakeRequest, response: ServerResponse, index: number) => void;

export interface FakeOptions {
  readonly tls?: { readonly cert: string; readonly key: string };
  /** Default: a free one. */
  readonly port?: number;
}

/** Listens on 127.0.0.1 until the test ends. */
export async function fakeServer(
  context: TestContext,
  answer: FakeAnswer,
  { tls, port = 0 }: FakeOptions = {},
): Promise<FakeServer> {
  const requests: FakeRequest[] = [];
  const server = tls ? createTlsServer(tls) : createServer();
  server.on("request", (request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const { method = "", url = "", headers } = request;
      const whole = { method, path: url, headers, body: Buffer.concat(chunks) };
      answer(whole, response, requests.push(whole) - 1);
    });
  });
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  context.after(() => {
    server.closeAllConnections();
    server.close();
  });
  // A server that listens on a port has an address of this form.
  const { port: taken } = server.address() as AddressInfo;
  return { url: `${tls ? "https" : "http"}://127.0.0.1:${taken}`, requests };
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  // A server that listens on a port has an address of this form.
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

export function answerJson(
  response: ServerResponse,
  json: unknown,
  status = 200,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, { "Content-Type": "application/json", ...headers });
  response.end(JSON.stringify(json));
}
