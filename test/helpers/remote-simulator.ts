/** A simulator that trains over HTTP, for tests and benchmarks of `--env remote`: JSON or binary, keep-alive, no retries. */
import { Agent, request } from "node:http";
import { createBuffers, stateRows } from "../../src/envs/buffers.ts";
import type { Env, EnvSpec } from "../../src/envs/contract.ts";

/** What an environment shows: arrays of its agents' rows, padded as the contract says. */
export interface View {
  readonly observations: Float32Array;
  readonly state: Float32Array;
  readonly actionMask: ArrayLike<number>;
  readonly active: ArrayLike<number>;
}

/** One environment behind a simulator. */
export interface Simulated {
  readonly spec: EnvSpec;
  /** Starts an episode and returns what is seen; without a seed the next of the stream. */
  reset(seed?: number): View;
  step(actions: Float32Array): {
    readonly reward: number;
    readonly terminated: boolean;
    readonly truncated: boolean;
    readonly view: View;
    readonly figures?: Readonly<Record<string, number>>;
  };
}

export function simulated(env: Env): Simulated {
  const buffers = createBuffers(env.spec);
  return {
    spec: env.spec,
    reset(seed) {
      env.reset(buffers, seed);
      return buffers;
    },
    step(actions) {
      const { reward, terminated, truncated, info } = env.step(actions, buffers);
      return { reward, terminated, truncated, view: buffers, ...(info && { figures: info }) };
    },
  };
}

export interface Reply {
  readonly status: number;
  readonly body: Buffer;
  /** The body's JSON, or the header of a binary one; tests read what fields they expect. */
  readonly json: ReplyJson;
}

/** Every field that a reply of the protocol may have; a reply has some of them. */
export interface ReplyJson {
  readonly error: string;
  readonly simulator: string;
  readonly sequence: number;
  readonly command: "reset" | "act" | "wait" | "close";
  /** Those that a command is for; how many were given, in the reply to a registration. */
  readonly environments: number | readonly number[];
  readonly seeds: readonly number[];
  /** For each environment and agent a choice, or numbers. */
  readonly actions: readonly (readonly (number | readonly number[])[])[];
}

/** HTTP calls of the protocol on kept connections. */
export class RemoteClient {
  readonly #url: URL;
  readonly #token: string | undefined;
  readonly #agent = new Agent({ keepAlive: true });

  constructor(url: string, token?: string) {
    this.#url = new URL(url);
    this.#token = token;
  }

  /** Sends a body: an object as JSON, bytes as binary (or as `type` says). */
  async call(
    path: string,
    body?: object | Buffer,
    { method = "POST", type = "" } = {},
    signal?: AbortSignal,
  ): Promise<Reply> {
    const binary = Buffer.isBuffer(body);
    const bytes = binary ? body : Buffer.from(body === undefined ? "" : JSON.stringify(body));
    const headers = {
      "content-type": type || (binary ? "application/octet-stream" : "application/json"),
      "content-length": bytes.length,
      ...(this.#token !== undefined && { authorization: `Bearer ${this.#token}` }),
    };
    return new Promise((resolve, reject) => {
      const { hostname: host, port } = this.#url;
      const options = { host, port, path, method, headers, agent: this.#agent, ...(signal && { signal }) };
      const sent = request(options, (response) => {
        const pieces: Buffer[] = [];
        response.on("data", (piece: Buffer) => pieces.push(piece));
        response.on("error", reject);
        response.on("end", () => {
          const all = Buffer.concat(pieces);
          const isBinary = response.headers["content-type"] === "application/octet-stream";
          const header = isBinary ? all.subarray(4, 4 + all.readUInt32LE(0)) : all;
          resolve({ status: response.statusCode!, body: all, json: JSON.parse(header.toString()) });
        });
      });
      sent.on("error", reject);
      sent.end(bytes);
    });
  }

  next(name: string, body: object | Buffer, signal?: AbortSignal): Promise<Reply> {
    return this.call(`/v1/simulators/${name}/next`, body, {}, signal);
  }

  leave(name: string): Promise<Reply> {
    return this.call(`/v1/simulators/${name}`, undefined, { method: "DELETE" });
  }

  close(): void {
    this.#agent.destroy();
  }
}

/** The registration of a task. */
export function spacesOf(spec: EnvSpec, environments: number, more: object = {}): Record<string, unknown> {
  const { actionSpace } = spec;
  return {
    protocol: 1,
    task: spec.name.replace(/^remote\//, ""),
    agents: spec.agents.map(({ name, observationSize, actionSize }) => ({
      name,
      observation: observationSize,
      action:
        actionSpace.kind === "discrete"
          ? { discrete: actionSize }
          : { continuous: actionSize, low: actionSpace.low, high: actionSpace.high },
    })),
    state: spec.stateSize,
    state_per_agent: spec.statePerAgent,
    episode_limit: spec.episodeLimit,
    step_seconds: spec.stepSeconds,
    figures: spec.episodeFigures,
    environments,
    ...more,
  };
}

export interface SimulateOptions {
  readonly binary?: boolean;
  readonly token?: string;
  /** Called before every answer; a simulator whose hook returns false vanishes without a word. */
  readonly before?: (kind: "reset" | "act", steps: number) => boolean | Promise<boolean>;
}

/** Simulates until training is over; returns the steps made over all environments. All agents have equal sizes. */
export async function simulate(
  url: string,
  envs: readonly Simulated[],
  { binary = false, token, before = () => true }: SimulateOptions = {},
): Promise<number> {
  const client = new RemoteClient(url, token);
  const { spec } = envs[0]!;
  try {
    const registered = await client.call("/v1/simulators", spacesOf(spec, envs.length));
    if (registered.status !== 201) throw new Error(registered.json.error);
    const name: string = registered.json.simulator;
    let steps = 0;
    let answer: object | Buffer = binary ? packed(0, {}) : { sequence: 0 };
    for (;;) {
      const { status, json, body } = await client.next(name, answer);
      if (status !== 200) throw new Error(json.error);
      if (json.command === "close") return steps;
      if (json.command === "wait") {
        answer = binary ? packed(json.sequence, {}) : { sequence: json.sequence };
        continue;
      }
      if (!(await before(json.command, steps))) return steps;
      const chosen = [json.environments].flat();
      if (json.command === "reset") {
        const views = chosen.map((e, i) => copied(envs[e]!.reset(json.seeds[i])));
        answer = answered(json.sequence, views, undefined, binary, spec);
        continue;
      }
      const actions = binary ? rawNumbers(body) : Float32Array.from(json.actions.flat(2));
      const width = actions.length / chosen.length;
      const results = chosen.map((e, i) => {
        const result = envs[e]!.step(actions.subarray(i * width, (i + 1) * width));
        const last = copied(result.view);
        const over = result.terminated || result.truncated;
        return { ...result, last, view: over ? copied(envs[e]!.reset()) : last, over };
      });
      steps += chosen.length;
      answer = answered(
        json.sequence,
        results.map(({ view }) => view),
        results,
        binary,
        spec,
      );
    }
  } finally {
    client.close();
  }
}

type Result = ReturnType<Simulated["step"]> & { readonly last: View; readonly over: boolean };

/** A binary body: the header, then float32 arrays in the order of their names. */
export function packed(sequence: number, arrays: Readonly<Record<string, ArrayLike<number>>>): Buffer {
  const header = Buffer.from(JSON.stringify({ sequence, arrays: Object.keys(arrays) }));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(header.length);
  const numbers = Object.values(arrays).map((array) => {
    const floats = Float32Array.from(array);
    return Buffer.from(floats.buffer);
  });
  return Buffer.concat([length, header, ...numbers]);
}

/** The numbers after a binary reply's header. */
export function rawNumbers(body: Buffer): Float32Array {
  const start = body.byteOffset + 4 + body.readUInt32LE(0);
  return new Float32Array(body.buffer.slice(start, body.byteOffset + body.length));
}

function answered(
  sequence: number,
  views: readonly View[],
  results: readonly Result[] | undefined,
  binary: boolean,
  spec: EnvSpec,
): object | Buffer {
  const figures = spec.episodeFigures;
  const discrete = spec.actionSpace.kind === "discrete";
  if (!binary) {
    const agents = spec.agents.length;
    const rows = (flat: ArrayLike<number>, count: number): number[][] => {
      const width = flat.length / count;
      return Array.from({ length: count }, (_, n) => Array.from(flat).slice(n * width, (n + 1) * width));
    };
    const state = (view: View): number[] | number[][] =>
      spec.statePerAgent ? rows(view.state, stateRows(spec)) : Array.from(view.state);
    return {
      sequence,
      observations: views.map((view) => rows(view.observations, agents)),
      state: views.map(state),
      ...(discrete && { action_mask: views.map((view) => rows(view.actionMask, agents)) }),
      active: views.map((view) => Array.from(view.active)),
      ...(results && {
        rewards: results.map(({ reward }) => reward),
        terminated: results.map(({ terminated }) => terminated),
        truncated: results.map(({ truncated }) => truncated),
        final_observations: results.map(({ over, last }) => (over ? rows(last.observations, agents) : null)),
        final_state: results.map(({ over, last }) => (over ? state(last) : null)),
        figures: results.map(({ over, figures: own }) => (over ? (own ?? {}) : null)),
      }),
    };
  }
  const joined = (pick: (view: View) => ArrayLike<number>, of: readonly View[]): number[] =>
    of.flatMap((view) => Array.from(pick(view)));
  const lasts = results?.map(({ last }) => last);
  return packed(sequence, {
    observations: joined((view) => view.observations, views),
    state: joined((view) => view.state, views),
    ...(discrete && { action_mask: joined((view) => view.actionMask, views) }),
    active: joined((view) => view.active, views),
    ...(results && {
      rewards: results.map(({ reward }) => reward),
      terminated: results.map(({ terminated }) => Number(terminated)),
      truncated: results.map(({ truncated }) => Number(truncated)),
    }),
    ...(results?.some(({ over }) => over) && {
      final_observations: joined((view) => view.observations, lasts!),
      final_state: joined((view) => view.state, lasts!),
      figures: results.flatMap(({ figures: own }) => figures.map((name) => own?.[name] ?? 0)),
    }),
  });
}

function copied({ observations, state, actionMask, active }: View): View {
  return {
    observations: observations.slice(),
    state: state.slice(),
    actionMask: Array.from(actionMask),
    active: Array.from(active),
  };
}
