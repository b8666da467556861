/**
 * A server under attack, and what must hold of each of its answers: no fault of its own, nothing of the inside told,
 * and a sound request beside the attack gets the same bytes as before it. Not what it is attacked with.
 */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { type RunningServer, startServer } from "../../server/app.ts";
import { type Failure, GrpcClient } from "./grpc-client.ts";
import type { HostileAdapter } from "./hostile-adapters.ts";
import type { HostileRequest } from "./hostile-headers.ts";
import { TARGETS } from "./hostile-infer.ts";
import { exchange, RawConnection, type RawReply, requestBytes } from "./raw-http.ts";
import { writeTinyRepository } from "./tiny-models.ts";
import { TOKEN } from "./tiny-server.ts";

/** Never attacked: its numbers must stay. */
const CANARY = "canary";
const BOUND_MS = 10_000;
/** Longest text of an error. */
const ERROR_LIMIT_CHARACTERS = 4096;
const BEARER = ["Authorization", `Bearer ${TOKEN}`] as const;
const HEADER_LENGTH = "Inference-Header-Content-Length";

/** Names of engines' errors, of places in code and of folders: what an error must not tell. */
const INSIDE =
  /RangeError|TypeError|SyntaxError|\.[cm]?[jt]s:\d|\bat .*:\d+:\d+|node_modules|node:internal|lorasa-fuzz-/;

const FORMS = ["framed", "base64", "path"] as const;

/** Owns the server and its folder. */
export class FuzzWorld {
  /** How often each status was answered, gRPC's by name. */
  readonly answers = new Map<number | string, number>();
  readonly #server: RunningServer;
  readonly #folder: string;
  readonly #port: number;
  readonly #connection: RawConnection;
  readonly #faults: unknown[];
  readonly #grpc: GrpcClient;
  #canary = "";

  private constructor(server: RunningServer, folder: string, faults: unknown[]) {
    this.#server = server;
    this.#folder = folder;
    this.#faults = faults;
    this.#port = Number(new URL(server.url).port);
    this.#connection = new RawConnection(this.#port);
    this.#grpc = new GrpcClient(Number(new URL(server.grpcUrl ?? "").port), TOKEN);
  }

  static async open(): Promise<FuzzWorld> {
    const folder = mkdtempSync(join(tmpdir(), "lorasa-fuzz-"));
    const models = [...TARGETS, { name: CANARY, mode: "factored" } as const];
    writeTinyRepository(join(folder, "repository"), models);
    const faults: unknown[] = [];
    const server = await startServer({
      repository: join(folder, "repository"),
      port: 0,
      grpcPort: 0,
      token: TOKEN,
      drainTimeoutMs: 2000,
      onFault: (fault) => faults.push(fault),
    });
    const world = new FuzzWorld(server, folder, faults);
    world.#canary = (await world.#askCanary()).toString();
    return world;
  }

  /** Sends a request and judges what comes back. */
  async send(request: HostileRequest): Promise<void> {
    const { verb, path, body, lies } = request;
    const headers = request.token ? [...request.headers, BEARER] : request.headers;
    const bytes = requestBytes(verb, path, headers, body);
    const head = verb === "HEAD";
    if (lies) {
      await this.sendBytes(bytes, head);
      return;
    }
    const reply = await this.#connection.ask(bytes, { head, boundMs: BOUND_MS });
    this.#checkFaults();
    this.#count(reply?.status ?? "closed");
    if (reply) checkReply(reply, head);
  }

  /** Sends bytes on a connection of their own, and closes: every answer is judged, and the server closes too. */
  async sendBytes(bytes: Buffer, head = false): Promise<void> {
    const { replies, rest, closed } = await exchange(this.#port, bytes, { head, boundMs: BOUND_MS });
    assert.ok(closed, `the connection is still open after ${BOUND_MS} ms`);
    // What is no HTTP is refused with a body, also when its verb was to be HEAD.
    if (!head) assert.equal(rest.toString("latin1"), "", "what came back is no reply");
    this.#checkFaults();
    for (const reply of replies) {
      this.#count(reply.status);
      checkReply(reply, head);
    }
  }

  /** Pushes an adapter in one of the three forms. */
  async upload({ config, tensors }: HostileAdapter, form: (typeof FORMS)[number]): Promise<void> {
    const path = "/v2/repository/models/team/adapters/agent_0.fuzz/load";
    const common = { config, load_inplace: true };
    if (form === "framed") {
      const json = Buffer.from(JSON.stringify({ parameters: common }));
      const headers = [BEARER, [HEADER_LENGTH, `${json.length}`] as const];
      await this.send({
        verb: "POST",
        path,
        headers,
        body: Buffer.concat([json, tensors]),
        lies: false,
        token: false,
      });
      return;
    }
    const source =
      form === "path" ? { path: config } : { "file:adapter_model.safetensors": tensors.toString("base64") };
    const parameters = form === "path" ? { ...source, load_inplace: true } : { ...common, ...source };
    const body = Buffer.from(JSON.stringify({ parameters }));
    await this.send({ verb: "POST", path, headers: [BEARER], body, lies: false, token: false });
  }

  /** Calls a method with bytes that may be no message of it. */
  async call(method: string, message: Buffer): Promise<void> {
    // What a call ends with is a status, or an error of the test's own, which has none.
    const failure = await this.#grpc.bytes(method, message).then(
      () => undefined,
      (error: Failure) => error,
    );
    this.#checkFaults();
    this.#count(failure?.code ?? "OK");
    if (!failure) return;
    const { code, details } = failure;
    assert.ok(
      code !== undefined && !["INTERNAL", "UNKNOWN", "DATA_LOSS"].includes(code),
      `${code}: ${details}`,
    );
    assert.doesNotMatch(details, INSIDE);
    assert.ok(details.length <= ERROR_LIMIT_CHARACTERS);
  }

  /** A sound request gets the very bytes that it got before the attack. */
  async checkCanary(): Promise<void> {
    assert.equal((await this.#askCanary()).toString(), this.#canary, "the numbers are others than before");
  }

  /** Sooner or later no request is under way but the one that asks. */
  async checkIdle(): Promise<void> {
    for (let tries = 0; tries < 200; tries++) {
      const { body } = await this.#ask("GET", "/metrics");
      if (/^lorasa_inflight 1$/m.test(`${body}`)) return;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    assert.fail("requests whose clients are gone are still under way");
  }

  /** Brings back what the attack was allowed to take away, so that the next is met by something. */
  async restore(): Promise<void> {
    for (const { name } of TARGETS) {
      const ready = await this.#ask("GET", `/v2/models/${name}/ready`);
      if (ready.status !== 200) await this.#ask("POST", `/v2/repository/models/${name}/load`);
    }
    for (const agent of ["agent_0", "agent_1"]) {
      const adapter = `/v2/repository/models/team/adapters/${agent}`;
      const body = JSON.stringify({ parameters: { path: agent, load_inplace: true } });
      const { status } = await this.#ask("POST", `${adapter}/load`, body);
      assert.equal(status, 200, `${agent} cannot be loaded any more`);
      await this.#ask("POST", `${adapter}/unpin`);
    }
  }

  /** What the process holds after everything that can be collected is: bytes, and open files where they can be seen. */
  async held(): Promise<{ readonly rssBytes: number; readonly files: number }> {
    this.#connection.close();
    await new Promise((resolve) => setTimeout(resolve, 50));
    setFlagsFromString("--expose-gc");
    const collect = runInNewContext("gc") as () => void;
    for (let round = 0; round < 3; round++) collect();
    const files = process.platform === "linux" ? readdirSync("/proc/self/fd").length : 0;
    return { rssBytes: process.memoryUsage.rss(), files };
  }

  async close(): Promise<void> {
    this.#grpc.close();
    this.#connection.close();
    await this.#server.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #askCanary(): Promise<Buffer> {
    const inputs = [{ name: "obs", datatype: "FP32", shape: [1, 2, 3], data: [0.1, -2, 3, 0.4, 5, -6] }];
    const { status, body } = await this.#ask(
      "POST",
      `/v2/models/${CANARY}/infer`,
      JSON.stringify({ inputs }),
    );
    assert.equal(status, 200, `a sound request got ${status}: ${body}`);
    return body;
  }

  async #ask(verb: string, path: string, body = ""): Promise<RawReply> {
    // The connection may have been closed after the request before.
    for (let tries = 0; tries < 3; tries++) {
      const reply = await this.#connection.ask(requestBytes(verb, path, [BEARER], body), {
        boundMs: BOUND_MS,
      });
      if (reply) return reply;
    }
    assert.fail(`no answer to ${verb} ${path}`);
  }

  #count(answer: number | string): void {
    this.answers.set(answer, (this.answers.get(answer) ?? 0) + 1);
  }

  #checkFaults(): void {
    if (this.#faults.length === 0) return;
    const [fault] = this.#faults.splice(0);
    assert.fail(`a fault of the server: ${fault instanceof Error ? fault.stack : fault}`);
  }
}

function checkReply({ status, headers, body }: RawReply, head: boolean): void {
  const text = body.toString("utf8");
  const told = `${status} ${text.slice(0, 500)}`;
  assert.ok(status < 500 || status === 503, told);
  if (status < 400 || head) return;
  // Node itself refuses a request without Host, or with an unknown Expect, before there is anybody to write a body.
  if (text === "" || text === "0\r\n\r\n") {
    assert.ok(status === 400 || status === 417, `${status} without a body`);
    return;
  }
  assert.equal(headers.get("content-type"), "application/json", told);
  assert.ok(text.length <= ERROR_LIMIT_CHARACTERS, `an error of ${text.length} characters: ${told}`);
  assert.doesNotMatch(text, INSIDE);
  const { error, ...others } = JSON.parse(text) as { error: unknown };
  assert.deepEqual(others, {}, told);
  // The routes made for vLLM's clients answer in that server's form.
  const message =
    typeof error === "object" ? (error as { readonly message?: unknown } | null)?.message : error;
  assert.ok(typeof message === "string" && message.length > 0, told);
}
