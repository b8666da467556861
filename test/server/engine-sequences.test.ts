/** A sequence's state on the server equals the one that a client would carry itself. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { assertClose } from "../helpers/close.ts";
import {
  type Answer,
  ask,
  assertRejects,
  floats,
  type Inputs,
  indices,
  openTiny,
  push,
  type TinyEngine,
  turns,
} from "../helpers/engine-service.ts";

const HIDDEN = 4;
const RECURRENT = { mode: "factored", hidden: HIDDEN } as const;
const STEPS = 5;

/** Another observation each step. */
function obs(step: number, shape: readonly number[]) {
  const count = shape.reduce((product, size) => product * size, 1);
  return floats(
    shape,
    Array.from({ length: count }, (_, at) => Math.sin(1 + at + 10 * step)),
  );
}

/** The same steps with `hidden_in` and `hidden_out` carried by hand. */
async function carried(
  engine: TinyEngine,
  model: string,
  steps: readonly Inputs[],
  leading: readonly number[],
): Promise<readonly Answer[]> {
  const rows = leading.reduce((product, size) => product * size, 1);
  let hidden: readonly number[] = new Array<number>(rows * HIDDEN).fill(0);
  const answers: Answer[] = [];
  for (const inputs of steps) {
    const answer = await ask(engine, model, { ...inputs, hidden_in: floats([...leading, HIDDEN], hidden) });
    hidden = answer.outputs["hidden_out"]!;
    answers.push(answer);
  }
  return answers;
}

function assertSame(actual: readonly Answer[], expected: readonly Answer[], what: string): void {
  assert.equal(actual.length, expected.length, what);
  for (const [step, { outputs }] of expected.entries()) {
    for (const [name, values] of Object.entries(outputs)) {
      assertClose(actual[step]!.outputs[name]!, values, { atol: 1e-6 }, `${what}, step ${step}, ${name}`);
    }
  }
}

const ADDRESSES: Readonly<Record<string, { model: string; leading: readonly number[]; also?: Inputs }>> = {
  "a team of two environments": { model: "team", leading: [2, 2] },
  "tagged rows": { model: "team", leading: [3], also: { agent: indices(1, 0, 1) } },
  "an agent": { model: "team.agent_1", leading: [2] },
};

for (const mode of ["merged", "stacked", "factored"] as const) {
  for (const [what, { model, leading, also }] of Object.entries(ADDRESSES)) {
    test(`${mode}: a sequence of ${what} is what hidden_in and hidden_out give`, async (context) => {
      const engine = await openTiny(context, { ...RECURRENT, mode });
      const steps = Array.from({ length: STEPS }, (_, step) => ({
        obs: obs(step, [...leading, 3]),
        ...also,
      }));
      const answers: Answer[] = [];
      for (const [step, inputs] of steps.entries()) {
        answers.push(await ask(engine, model, inputs, { sequence_id: 7, sequence_start: step === 0 }));
      }
      assertSame(answers, await carried(engine, model, steps, leading), what);
    });
  }
}

const OWN = "team.agent_0";
const start = (id: number | string) => ({ sequence_id: id, sequence_start: true });
const own = (step: number) => ({ obs: obs(step, [1, 3]) });
const OWN_STEPS = Array.from({ length: STEPS }, (_, step) => own(step));

test("requests of one sequence that come together are answered in their order", async (context) => {
  for (const options of [{}, { maxBatchRows: 1 }, { longRunMs: 0 }]) {
    const engine = await openTiny(context, RECURRENT, options);
    const order: number[] = [];
    const answers = await Promise.all(
      OWN_STEPS.map(async (inputs, step) => {
        // Less urgent each time: a sequence's order is not the queue's.
        const parameters = { sequence_id: "s", sequence_start: step === 0, priority: STEPS - step };
        const answer = await ask(engine, OWN, inputs, parameters);
        order.push(step);
        return answer;
      }),
    );
    assert.deepEqual(order, [...OWN_STEPS.keys()]);
    assertSame(answers, await carried(engine, OWN, OWN_STEPS, [1]), JSON.stringify(options));
  }
});

test("sequences do not see each other: by id, by name, and together in one batch", async (context) => {
  const engine = await openTiny(context, RECURRENT);
  const ids = [1, 2, "18446744073709551615", "18446744073709551614", "one"];
  const expected = await carried(engine, OWN, OWN_STEPS, [1]);
  for (const id of ids) await ask(engine, OWN, OWN_STEPS[0]!, start(id));
  await ask(engine, "team.agent_1", OWN_STEPS[3]!, start(1));
  engine.events.batches.length = 0;
  for (let step = 1; step < STEPS; step++) {
    const answers = await Promise.all(ids.map((sequence_id) => ask(engine, OWN, own(step), { sequence_id })));
    for (const answer of answers) assertSame([answer], [expected[step]!], `step ${step}`);
  }
  assert.deepEqual(
    engine.events.batches.map(({ requests }) => requests),
    new Array(STEPS - 1).fill(ids.length),
  );
});

test("a start begins at zero again; an end forgets; what is unknown is refused", async (context) => {
  const engine = await openTiny(context, RECURRENT);
  const [zero, one] = await carried(engine, OWN, OWN_STEPS, [1]);
  await ask(engine, OWN, OWN_STEPS[0]!, start(5));
  await ask(engine, OWN, OWN_STEPS[2]!, { sequence_id: 5 });
  assertSame([await ask(engine, OWN, OWN_STEPS[0]!, start(5))], [zero!], "after a second start");
  const end = { sequence_id: "5", sequence_end: true };
  assertSame([await ask(engine, OWN, OWN_STEPS[1]!, end)], [one!], "the last one still has its state");
  const refused = /sequence 5 of team\.agent_0: expected a live one, or sequence_start/;
  await assertRejects(ask(engine, OWN, OWN_STEPS[1]!, { sequence_id: 5 }), "LORASA_REQUEST", refused);
  await assertRejects(ask(engine, OWN, OWN_STEPS[1]!, end), "LORASA_REQUEST", refused);
  const once = { ...start(6), sequence_end: true };
  assertSame([await ask(engine, OWN, OWN_STEPS[0]!, once)], [zero!], "one request alone");
  await assertRejects(ask(engine, OWN, OWN_STEPS[0]!, { sequence_id: 6 }), "LORASA_REQUEST", /sequence 6/);
});

test("an explicit hidden_in replaces the state, and what follows goes on from there", async (context) => {
  const engine = await openTiny(context, RECURRENT);
  const hidden_in = floats([1, HIDDEN], [1, -2, 3, -4]);
  await ask(engine, OWN, own(0), start(1));
  const replaced = await ask(engine, OWN, { ...own(1), hidden_in }, { sequence_id: 1 });
  assert.deepEqual(replaced.outputs, (await ask(engine, OWN, { ...own(1), hidden_in })).outputs);
  const state = floats([1, HIDDEN], replaced.outputs["hidden_out"]!);
  const next = await ask(engine, OWN, own(2), { sequence_id: 1 });
  assert.deepEqual(next.outputs, (await ask(engine, OWN, { ...own(2), hidden_in: state })).outputs);
  const begun = await ask(engine, OWN, { ...own(1), hidden_in }, start(2));
  assert.deepEqual(begun.outputs, replaced.outputs, "a start may bring a state");
});

test("a request that fails leaves the state as it was", async (context) => {
  const engine = await openTiny(context, RECURRENT);
  const expected = await carried(engine, OWN, [own(0), own(1)], [1]);
  await ask(engine, OWN, own(0), start(1));
  const rows = { obs: obs(1, [3, 3]) };
  const wrongRows = /rows of the sequence: expected 1, as it began, received 3/;
  await assertRejects(ask(engine, OWN, rows, { sequence_id: 1 }), "LORASA_SHAPE", wrongRows);
  const wide = { obs: obs(1, [1, 4]) };
  await assertRejects(ask(engine, OWN, wide, { sequence_id: 1 }), "LORASA_SHAPE", /input obs/);
  const gone = ask(engine, OWN, own(3), { sequence_id: 1 }, { cancelled: () => true });
  await assertRejects(gone, "LORASA_CANCELLED", /./);
  const huge = { obs: floats([1, 3], [3e38, 3e38, 3e38]) };
  await assertRejects(ask(engine, OWN, huge, { sequence_id: 1 }), "LORASA_NOT_FINITE", /./);
  assertSame([await ask(engine, OWN, own(1), { sequence_id: 1 })], [expected[1]!], "after failures");
});

test("a sequence whose requests ask for the action alone has its state all the same", async (context) => {
  const engine = await openTiny(context, RECURRENT);
  const expected = await carried(engine, OWN, OWN_STEPS, [1]);
  for (const [step, inputs] of OWN_STEPS.entries()) {
    const outputs = step === STEPS - 1 ? ["hidden_out", "action"] : ["action"];
    const parameters = { sequence_id: 1, sequence_start: step === 0 };
    const answer = await ask(engine, OWN, inputs, parameters, { outputs });
    assert.deepEqual(Object.keys(answer.outputs), outputs);
    for (const name of outputs)
      assertClose(answer.outputs[name]!, expected[step]!.outputs[name]!, { atol: 1e-6 });
  }
});

test("one agent's state does not go on as another's", async (context) => {
  const engine = await openTiny(context, RECURRENT);
  const two = obs(0, [2, 3]);
  await ask(engine, "team", { obs: two, agent: indices(0, 1) }, start(1));
  const others = /rows of the sequence: expected those of the same agents, in the order of the last request/;
  for (const agent of [indices(1, 0), indices(0, 0)]) {
    await assertRejects(ask(engine, "team", { obs: two, agent }, { sequence_id: 1 }), "LORASA_SHAPE", others);
  }
  const team = { obs: floats([1, 2, 3], two.data as Float32Array) };
  const [, , next] = await carried(engine, "team", [team, team, team], [1, 2]);
  await ask(engine, "team", { obs: two, agent: indices(0, 1) }, { sequence_id: 1 });
  // The same rows of the same agents, as a team's.
  const { outputs } = await ask(engine, "team", team, { sequence_id: 1 });
  assertClose(outputs["hidden_out"]!, next!.outputs["hidden_out"]!, { atol: 1e-6 });
  const hidden_in = floats([2, HIDDEN], new Array(2 * HIDDEN).fill(1));
  const brought = { obs: two, agent: indices(1, 0), hidden_in };
  await ask(engine, "team", brought, { sequence_id: 1 });
  await ask(engine, "team", { obs: two, agent: indices(1, 0) }, { sequence_id: 1 });
});

test("a state that overflows is told even where it was not asked for, and does not stay", async (context) => {
  const engine = await openTiny(context, RECURRENT);
  const [zero] = await carried(engine, OWN, OWN_STEPS, [1]);
  // The fourth unit weighs the second number with 0.9 and halves its state; the actions stay finite.
  const inputs = { obs: floats([1, 3], [0, 2.5e38, 0]), hidden_in: floats([1, HIDDEN], [0, 0, 0, 3.4e38]) };
  const asked = ask(engine, OWN, inputs, start(1), { outputs: ["action"] });
  await assertRejects(asked, "LORASA_NOT_FINITE", /state of sequence 1 of team\.agent_0: expected finite/);
  assertSame([await ask(engine, OWN, own(0), { sequence_id: 1 })], [zero!], "the state before stays");
});

test("no more live sequences than the bound", async (context) => {
  const engine = await openTiny(context, RECURRENT, { sequenceLimit: 2 });
  await ask(engine, OWN, own(0), start(1));
  await ask(engine, OWN, own(0), start(2));
  const full = /sequence 3 of team\.agent_0: expected fewer than 2 live sequences/;
  await assertRejects(ask(engine, OWN, own(0), start(3)), "LORASA_UNAVAILABLE", full);
  await ask(engine, OWN, own(1), { sequence_id: 1, sequence_end: true });
  await ask(engine, OWN, own(0), start(3));
});

test("the service itself forgets sequences that nobody asks for", async (context) => {
  const engine = await openTiny(context, RECURRENT, { sequenceIdleMs: 1 });
  await ask(engine, OWN, own(0), start(1));
  while (engine.service.sequences.size > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  await assertRejects(ask(engine, OWN, own(1), { sequence_id: 1 }), "LORASA_REQUEST", /idle for too long/);
});

test("a policy without a state takes no notice of sequences", async (context) => {
  const engine = await openTiny(context, { mode: "factored" });
  const expected = await ask(engine, OWN, own(0));
  for (const parameters of [
    { sequence_id: 9 },
    { sequence_id: "x", sequence_end: true },
    { sequence_id: -1 },
  ]) {
    assert.deepEqual(await ask(engine, OWN, own(0), parameters), expected);
  }
  assert.equal(engine.service.sequences.size, 0);
});

test("an adapter that is swapped inside a sequence keeps its state", async (context) => {
  const engine = await openTiny(context, RECURRENT);
  const expected = await carried(engine, OWN, [own(0), own(1)], [1]);
  await ask(engine, OWN, own(0), start(1));
  await push(engine, "agent_0", 90);
  const { outputs, versions } = await ask(engine, OWN, own(1), { sequence_id: 1 });
  assert.deepEqual(versions, { agent_0: 2 });
  assertClose(outputs["hidden_out"]!, expected[1]!.outputs["hidden_out"]!);
  assert.notDeepEqual(outputs["action"], expected[1]!.outputs["action"]);
});

test("a model that is loaded again or unloaded has forgotten its sequences; others keep theirs", async (context) => {
  const engine = await openTiny(context, [RECURRENT, { ...RECURRENT, name: "other" }]);
  for (const change of ["load", "unload"] as const) {
    await ask(engine, OWN, own(0), start(1));
    await ask(engine, "other.agent_0", own(0), start(1));
    await engine.service[change]("team");
    if (change === "unload") await engine.service.load("team");
    await assertRejects(ask(engine, OWN, own(1), { sequence_id: 1 }), "LORASA_REQUEST", /sequence 1/);
    await ask(engine, "other.agent_0", own(1), { sequence_id: 1, sequence_end: true });
  }
});

test("a request that waits for the one before it is not lost when that one fails", async (context) => {
  const engine = await openTiny(context, RECURRENT);
  await ask(engine, OWN, own(0), start(1));
  const failing = ask(engine, OWN, { obs: obs(1, [2, 3]) }, { sequence_id: 1 });
  const next = ask(engine, OWN, own(1), { sequence_id: 1 });
  await assertRejects(failing, "LORASA_SHAPE", /rows of the sequence/);
  const expected = await carried(engine, OWN, [own(0), own(1)], [1]);
  assertSame([await next], [expected[1]!], "the next");
  await turns(1);
});

test("requests that wait inside a sequence fill the queue, and their timeout runs meanwhile", async (context) => {
  const engine = await openTiny(context, RECURRENT, { queueLimit: 3, queueDelayUs: 20_000 });
  await ask(engine, OWN, own(0), start(7));
  const step = (timeout: number) => ask(engine, OWN, own(1), { sequence_id: 7, timeout });
  const [first, late, ok, refused] = await Promise.allSettled([step(0), step(1000), step(0), step(0)]);
  assert.deepEqual([first.status, ok.status], ["fulfilled", "fulfilled"]);
  await assertRejects(settled(late), "LORASA_UNAVAILABLE", /a batch within the request's timeout/);
  await assertRejects(
    settled(refused),
    "LORASA_UNAVAILABLE",
    /queue of team: expected fewer than 3 requests/,
  );
});

function settled(result: PromiseSettledResult<unknown>): Promise<unknown> {
  return result.status === "rejected" ? Promise.reject(result.reason) : Promise.resolve(result.value);
}
