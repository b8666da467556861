/** Adam and clipping by norm, step after step, against PyTorch and against the formulas in double precision. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "../../src/base/random.ts";
import { floatTensor, type HostTensor } from "../../src/base/tensor.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { finishGraph } from "../../src/graph/finish.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import { ADAM, type AdamConfig, adam, adamScalars } from "../../src/optim/adam.ts";
import { clipByGlobalNorm } from "../../src/optim/clip.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import type { Session } from "../../src/runtime/session.ts";
import { assertClose, type Tolerance } from "../helpers/close.ts";
import { type FixtureTensor, toFloat, torchFixture } from "../helpers/torch-fixtures.ts";

interface AdamFixture {
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly maxNorm: number;
  readonly parameters: FixtureTensor;
  readonly steps: readonly {
    readonly learningRate: number;
    readonly gradient: FixtureTensor;
    readonly norm: FixtureTensor;
    readonly parameters: FixtureTensor;
    readonly firstMoment: FixtureTensor;
    readonly secondMoment: FixtureTensor;
  }[];
}

/** A few roundings of float32 a step. */
const FEW_ROUNDINGS: Tolerance = { atol: 1e-7, rtol: 2e-6 };

/** Clips and steps: parameters, firstMoment, secondMoment, gradient [G, P], stepSize, secondCorrection [G, 1]. */
function createStep(groups: number, size: number, maxNorm: number, config: AdamConfig): Session {
  const g = new GraphBuilder();
  const wide = (name: string) => g.input(name, "float32", [groups, size]);
  const narrow = (name: string) => g.input(name, "float32", [groups, 1]);
  const state = {
    parameters: wide("parameters"),
    firstMoment: wide("firstMoment"),
    secondMoment: wide("secondMoment"),
  };
  const { clipped, norm } = clipByGlobalNorm(g, wide("gradient"), maxNorm);
  const next = adam(g, state, clipped, narrow("stepSize"), narrow("secondCorrection"), config);
  g.output("norm", norm);
  g.output("clipped", clipped);
  for (const [name, value] of Object.entries(next)) g.output(`next/${name}`, value);
  return createRuntime().createSession(encodeModel(finishGraph(g, "step")));
}

/** One step; the state is replaced in place. */
function runStep(
  session: Session,
  state: Record<string, HostTensor>,
  gradient: HostTensor,
  scalars: readonly [number[], number[]],
): Record<string, HostTensor> {
  const [stepSize, secondCorrection] = scalars.map((values) => floatTensor([values.length, 1], values));
  const feeds = { ...state, gradient, stepSize: stepSize!, secondCorrection: secondCorrection! };
  const results = session.run(feeds) as Record<string, HostTensor>;
  for (const name of Object.keys(state)) state[name] = results[`next/${name}`]!;
  return results;
}

const numbers = ({ data }: { readonly data: ArrayLike<number | bigint> }): number[] =>
  Array.from(data, Number);

test("five steps of clipping and Adam equal PyTorch's", () => {
  const fixture = torchFixture<AdamFixture>("adam");
  const [groups, size] = fixture.parameters.dims as [number, number];
  const session = createStep(groups, size, fixture.maxNorm, fixture);
  const state: Record<string, HostTensor> = {
    parameters: toFloat(fixture.parameters),
    firstMoment: floatTensor([groups, size]),
    secondMoment: floatTensor([groups, size]),
  };
  for (const [index, step] of fixture.steps.entries()) {
    const [stepSize, correction] = adamScalars(index + 1, step.learningRate, fixture);
    const repeated = (value: number): number[] => new Array<number>(groups).fill(value);
    const { norm } = runStep(session, state, toFloat(step.gradient), [
      repeated(stepSize),
      repeated(correction),
    ]);
    assertClose(numbers(norm!), step.norm.data, FEW_ROUNDINGS, `norm at step ${index + 1}`);
    for (const name of ["parameters", "firstMoment", "secondMoment"] as const) {
      assertClose(numbers(state[name]!), step[name].data, FEW_ROUNDINGS, `${name} at step ${index + 1}`);
    }
  }
  session.dispose();
});

/** The formulas in double precision, one row. */
class ReferenceAdam {
  readonly #m: number[];
  readonly #v: number[];
  #t = 0;

  constructor(size: number) {
    this.#m = new Array<number>(size).fill(0);
    this.#v = new Array<number>(size).fill(0);
  }

  step(parameters: number[], gradient: readonly number[], learningRate: number, maxNorm: number): void {
    this.#t += 1;
    const norm = Math.hypot(...gradient);
    const coefficient = Math.min(1, maxNorm / (norm + 1e-6));
    for (const [k, raw] of gradient.entries()) {
      const value = raw * coefficient;
      this.#m[k] = ADAM.beta1 * this.#m[k]! + (1 - ADAM.beta1) * value;
      this.#v[k] = ADAM.beta2 * this.#v[k]! + (1 - ADAM.beta2) * value * value;
      const mean = this.#m[k]! / (1 - ADAM.beta1 ** this.#t);
      const square = this.#v[k]! / (1 - ADAM.beta2 ** this.#t);
      parameters[k] = parameters[k]! - (learningRate * mean) / (Math.sqrt(square) + ADAM.epsilon);
    }
  }
}

test("five steps of rows with rates of their own equal the formulas in double precision", () => {
  const random = new Random(5);
  const [groups, size, maxNorm] = [3, 4, 10];
  const rates = [5e-4, 1e-2, 0];
  const session = createStep(groups, size, maxNorm, ADAM);
  const draw = (scale: number): number[] =>
    Array.from({ length: groups * size }, () => Math.fround(scale * random.normal()));
  const start = draw(1);
  const rows = Array.from({ length: groups }, (_, row) => start.slice(row * size, (row + 1) * size));
  const references = rows.map(() => new ReferenceAdam(size));
  const state: Record<string, HostTensor> = {
    parameters: floatTensor([groups, size], start),
    firstMoment: floatTensor([groups, size]),
    secondMoment: floatTensor([groups, size]),
  };
  for (let t = 1; t <= 5; t++) {
    const gradient = draw(t === 2 ? 20 : 1);
    const scalars = rates.map((rate) => adamScalars(t, rate));
    runStep(session, state, floatTensor([groups, size], gradient), [
      scalars.map(([stepSize]) => stepSize),
      scalars.map(([, correction]) => correction),
    ]);
    for (const [row, reference] of references.entries()) {
      reference.step(rows[row]!, gradient.slice(row * size, (row + 1) * size), rates[row]!, maxNorm);
    }
    assertClose(numbers(state["parameters"]!), rows.flat(), FEW_ROUNDINGS, `step ${t}`);
  }
  assert.deepEqual(
    numbers(state["parameters"]!).slice(2 * size),
    start.slice(2 * size),
    "rate 0 moves nothing",
  );
  session.dispose();
});

test("a gradient of zeros has norm 0, stays zero and moves nothing", () => {
  const session = createStep(1, 3, 10, ADAM);
  const state: Record<string, HostTensor> = {
    parameters: floatTensor([1, 3], [1, -2, 3]),
    firstMoment: floatTensor([1, 3]),
    secondMoment: floatTensor([1, 3]),
  };
  const [stepSize, correction] = adamScalars(1, 1e-3);
  const { norm, clipped } = runStep(session, state, floatTensor([1, 3]), [[stepSize], [correction]]);
  assert.deepEqual(numbers(norm!), [0]);
  assert.deepEqual(numbers(clipped!), [0, 0, 0]);
  assert.deepEqual(numbers(state["parameters"]!), [1, -2, 3]);
  session.dispose();
});
