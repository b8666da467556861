/** Remote environments that listen for a test's own simulators, and how a test plays them. */
import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import type { RemoteVectorEnvOptions } from "../../src/envs/remote/remote-options.ts";
import { createRemoteVectorEnv, type RemoteVectorEnv } from "../../src/envs/remote/remote-vector.ts";
import type { EnvGroup, VectorEnv } from "../../src/envs/vector-contract.ts";
import { RemoteClient, type Reply } from "./remote-simulator.ts";

/** Two agents that see 2 and 3 numbers and have 2 and 3 choices; the state is what both see. */
export const PAIR = {
  protocol: 1,
  task: "test/Pair",
  agents: [
    { name: "left", observation: 2, action: { discrete: 2 } },
    { name: "right", observation: 3, action: { discrete: 3 } },
  ],
  state: "observations",
  episode_limit: 10,
  figures: ["won"],
  environments: 1,
};

/** First observations of one environment of {@link PAIR}, told apart by `mark`. */
export function seen(sequence: number, mark: number): Record<string, unknown> {
  return {
    sequence,
    observations: [
      [
        [mark, 1],
        [mark, 2, 3],
      ],
    ],
  };
}

/** The result of a step of one environment of {@link PAIR} that goes on. */
export function stepped(sequence: number, mark: number): Record<string, unknown> {
  return { ...seen(sequence, mark), rewards: [mark], terminated: [false], truncated: [false] };
}

/** By address, so that none is waited for at the end of a test. */
const puppets = new Map<string, Puppet[]>();

/** Starts to listen on a free port; closed with the test. Simulators of the same thread need `blockMs` 0. */
export function listen(
  context: TestContext,
  options: Partial<RemoteVectorEnvOptions> & { readonly envs: number },
): { readonly vector: Promise<RemoteVectorEnv>; readonly url: Promise<string> } {
  let tell: (url: string) => void = () => {};
  const url = new Promise<string>((resolve) => {
    tell = resolve;
  });
  const vector = createRemoteVectorEnv({
    listen: "127.0.0.1:0",
    blockMs: 0,
    onListening: tell,
    ...options,
  });
  context.after(async () => {
    const made = await vector.catch(() => undefined);
    for (const puppet of puppets.get(made?.address ?? "") ?? []) await puppet.leave();
    await made?.close();
  });
  return { vector, url };
}

/** A simulator told what to send by the test. */
export class Puppet {
  readonly client: RemoteClient;
  readonly name: string;
  readonly environments: number;

  private constructor(client: RemoteClient, name: string, environments: number) {
    this.client = client;
    this.name = name;
    this.environments = environments;
  }

  static async register(url: string, spaces: object = PAIR): Promise<Puppet> {
    const client = new RemoteClient(url);
    const { status, json } = await client.call("/v1/simulators", spaces);
    assert.equal(status, 201, json.error);
    const puppet = new Puppet(client, json.simulator, Number(json.environments));
    puppets.set(url, [...(puppets.get(url) ?? []), puppet]);
    return puppet;
  }

  next(body: object | Buffer, signal?: AbortSignal): Promise<Reply> {
    return this.client.next(this.name, body, signal);
  }

  /** Gone before, or after the end, is gone. */
  async leave(): Promise<void> {
    await this.client.leave(this.name).catch(() => {});
    this.client.close();
  }

  /** Takes the first command and sends first observations; the request for the second is left waiting. */
  async begin(mark: number): Promise<Reply> {
    const reply = await this.next({ sequence: 0 });
    this.next(seen(1, mark)).catch(() => {});
    return reply;
  }
}

/** Actions that differ by agent, number and step and stay inside [-1, 1], or choices that a mask allows. */
export function act(group: EnvGroup, t: number, discrete: boolean): void {
  const { actions, actionMask } = group;
  if (!discrete) {
    for (let k = 0; k < actions.length; k++) actions[k] = Math.sin(t + group.firstEnv + 0.7 * k);
    return;
  }
  const count = actionMask.length / actions.length;
  for (let row = 0; row < actions.length; row++) {
    let choice = (t + row) % count;
    while (actionMask[row * count + choice] === 0) choice = (choice + 1) % count;
    actions[row] = choice;
  }
}

/** What a group shows after a step, or at the start. */
export function snapshot(group: EnvGroup): Record<string, number[]> {
  const over = group.terminated.some(Boolean) || group.truncated.some(Boolean);
  const names = [
    "observations",
    "state",
    "actionMask",
    "active",
    "rewards",
    "terminated",
    "truncated",
    "episodeReturn",
    "episodeLength",
    ...(over ? (["finalObservations", "finalState"] as const) : []),
  ] as const;
  return Object.fromEntries(names.map((name) => [name, Array.from(group[name])]));
}

/** Plays steps as a trainer does, half by half, and returns what was seen. */
export async function play(
  vector: VectorEnv & Partial<RemoteVectorEnv>,
  steps: number,
): Promise<Record<string, number[]>[]> {
  const discrete = vector.spec.actionSpace.kind === "discrete";
  const shown = vector.groups.map(snapshot);
  for (let t = 0; t < steps; t++) {
    for (const [index, group] of vector.groups.entries()) {
      if (t > 0) await finish(vector, index);
      if (t > 0) shown.push(snapshot(group));
      act(group, t, discrete);
      vector.startStep(index);
    }
  }
  for (const [index, group] of vector.groups.entries()) {
    await finish(vector, index);
    shown.push(snapshot(group));
  }
  return shown;
}

/** Ends a step with the event loop running. */
export async function finish(vector: VectorEnv & Partial<RemoteVectorEnv>, group: number): Promise<void> {
  await vector.stepped?.(group);
  vector.finishStep(group);
}

/** Looks until it is so, for ten seconds at most. */
export async function until(holds: () => boolean, what: string): Promise<void> {
  for (const end = performance.now() + 10_000; !holds(); ) {
    assert.ok(performance.now() < end, what);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
