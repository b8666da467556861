/** Checks that the state which a server keeps for Triton's clients is the state that a client would keep. */
import assert from "node:assert/strict";
import { ServerClient } from "../../server/client.ts";
import { floatTensor, type HostTensor } from "../../src/base/tensor.ts";
import { assertClose } from "../helpers/close.ts";
import type { Subject } from "./triton-checks.ts";
import { failure, type TritonClient } from "./triton-client.ts";
import { observations, RECURRENT, RECURRENT_MODELS } from "./triton-served.ts";

const STEPS = 4;

const STATE_TOLERANCE = { atol: 1e-5 };

export async function sequences({ client, url }: Subject): Promise<void> {
  for (const [at, model] of RECURRENT_MODELS.entries()) {
    const loop = await stateLoop(url, model, at);
    const inputs = stepInputs(at);
    for (const id of [1000 + at, `episode ${at}`]) {
      for (const [step, obs] of inputs.entries()) {
        const sequence = { sequence_id: id, sequence_start: step === 0, sequence_end: step === STEPS - 1 };
        const { outputs } = await client.infer({ model_name: model, inputs: { obs }, ...sequence });
        assertClose(outputs["action"]!.data, loop[step]!, STATE_TOLERANCE, `${model} step ${step}`);
      }
    }
    assert.ok(
      largestDifference(loop[1]!, await firstAction(client, model, inputs[1]!)) > 1e-3,
      "state is inert",
    );
  }
}

/** The first action of a new sequence, ended at once. */
async function firstAction(
  client: TritonClient,
  model_name: string,
  obs: ReturnType<typeof observations>,
): Promise<readonly number[]> {
  const once = { sequence_id: 77, sequence_start: true, sequence_end: true };
  return (await client.infer({ model_name, inputs: { obs }, ...once })).outputs["action"]!.data;
}

export async function interleaved({ client, url }: Subject): Promise<void> {
  const ids = [51, "fifty-two", 53];
  const loops = await Promise.all(ids.map((_, at) => stateLoop(url, "recurrent.agent_1", at)));
  for (let step = 0; step < STEPS; step++) {
    for (const [at, id] of ids.entries()) {
      const obs = stepInputs(at, "recurrent.agent_1")[step]!;
      const sequence = { sequence_id: id, sequence_start: step === 0, sequence_end: step === STEPS - 1 };
      const reply = await client.infer({ model_name: "recurrent.agent_1", inputs: { obs }, ...sequence });
      assertClose(
        reply.outputs["action"]!.data,
        loops[at]![step]!,
        STATE_TOLERANCE,
        `sequence ${id} step ${step}`,
      );
    }
  }
}

export async function unbegun({ client }: Subject): Promise<void> {
  const request = { model_name: "recurrent", inputs: { obs: stepInputs(0)[0]! }, sequence_id: 987_654 };
  await failure(client.infer(request), /LORASA_\w+.*sequence/i);
}

/** Observations of each step of a sequence. */
function stepInputs(seed: number, model = "recurrent"): ReturnType<typeof observations>[] {
  const { agents, observation } = RECURRENT;
  const shape = model.includes(".agent") ? [1, observation] : [2, agents, observation];
  return Array.from({ length: STEPS }, (_, step) => observations(shape, 100 * seed + step));
}

/** The actions of each step when the client keeps the state itself. */
async function stateLoop(url: string, model: string, seed: number): Promise<(readonly number[])[]> {
  const client = new ServerClient(url);
  const actions: (readonly number[])[] = [];
  let hidden: HostTensor | undefined;
  for (const { shape, data } of stepInputs(seed, model)) {
    hidden ??= floatTensor([...shape.slice(0, -1), RECURRENT.hidden]);
    const obs = floatTensor(shape, data);
    const { outputs } = await client.infer(model, { obs, hidden_in: hidden });
    actions.push(Array.from(outputs["action"]!.data as Float32Array));
    hidden = outputs["hidden_out"]!;
  }
  client.close();
  return actions;
}

function largestDifference(a: readonly number[], b: readonly number[]): number {
  return Math.max(...a.map((value, at) => Math.abs(value - b[at]!)));
}
