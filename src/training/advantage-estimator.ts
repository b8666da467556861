/**
 * Advantages and returns of a rollout, as often as they are asked for: plain, or corrected for agents that have learnt
 * from it already. Values are in the normaliser's units of the time when they were predicted.
 */
import { normaliseAdvantages } from "./advantages.ts";
import type { TrainConfig } from "./config.ts";
import { type GaeOutput, generalisedAdvantages } from "./gae.ts";
import { type RolloutBuffer, rowOffset } from "./rollout-buffer.ts";
import { runningProductAdvantages } from "./running-product.ts";
import { denormaliseValues, type ValueNormState } from "./value-norm.ts";

export class AdvantageEstimator {
  readonly #config: TrainConfig;
  readonly #buffer: RolloutBuffer;
  readonly #values: Float32Array;
  readonly #output: GaeOutput;
  readonly #weights: Float32Array;
  /** How many agents were active in each row; none where all have a value of their own. */
  readonly #present: Float32Array | undefined;
  #finalValues: Float32Array | undefined;
  #bootstrapValues: Float32Array = new Float32Array();

  constructor(config: TrainConfig, buffer: RolloutBuffer) {
    const count = buffer.values.length;
    this.#config = config;
    this.#buffer = buffer;
    this.#values = new Float32Array(count);
    this.#weights = new Float32Array(count);
    this.#output = { advantages: new Float32Array(count), returns: new Float32Array(count) };
    this.#present = buffer.shape.heads === buffer.shape.agents ? undefined : new Float32Array(buffer.rows);
  }

  /** float32 [V, R], the same memory each time: written by `estimate`, advantages also by `normalise`. */
  get advantages(): Float32Array {
    return this.#output.advantages;
  }

  /** float32 [V, R] in the rewards' units. */
  get returns(): Float32Array {
    return this.#output.returns;
  }

  /** float32 [V, R] in the rewards' units. */
  get values(): Float32Array {
    return this.#values;
  }

  /** Takes in the buffer as it is now. */
  begin(norm: ValueNormState): void {
    const { values, bootstrapValues, finalValues, shape } = this.#buffer;
    denormaliseValues(norm, values, this.#values);
    this.#bootstrapValues = denormaliseValues(norm, bootstrapValues);
    this.#finalValues = shape.finalValues ? denormaliseValues(norm, finalValues) : undefined;
    if (this.#present) countActive(this.#buffer.active, this.#present);
  }

  /** @param ratio float32 [R]: how much likelier the agents that learnt before make their actions; 1 when left out. */
  estimate(ratio?: Float32Array): void {
    const { shape, rewards, terminated, truncated } = this.#buffer;
    const { timeLimit, gamma, trace } = this.#config;
    const corrected = ratio && trace !== "off" ? ratio : undefined;
    const input = {
      heads: shape.heads,
      steps: shape.steps,
      envs: shape.envs,
      rowOffset: (t: number) => rowOffset(shape, t),
      rewards,
      values: this.#values,
      bootstrapValues: this.#bootstrapValues,
      ...(this.#finalValues && { finalValues: this.#finalValues }),
      terminated,
      truncated,
      timeLimit,
      gamma,
      gaeLambda:
        corrected && trace === "lambda-squared" ? this.#config.gaeLambda ** 2 : this.#config.gaeLambda,
    };
    if (corrected && trace === "running-product") runningProductAdvantages(input, corrected, this.#output);
    else
      generalisedAdvantages(
        corrected ? { ...input, traceWeights: this.#capped(corrected) } : input,
        this.#output,
      );
  }

  /** Of all agents together, or each by itself where nothing is shared. */
  normalise(): void {
    const { shape, active } = this.#buffer;
    const perAgent = shape.heads === shape.agents;
    const { sharing, algo } = this.#config;
    // A2PO compares agents with one another, so their advantages have one scale.
    const groups = perAgent && sharing === "nps" && algo !== "a2po" ? shape.agents : 1;
    normaliseAdvantages(this.#output.advantages, groups, perAgent ? active : this.#present);
  }

  /** min(1, ρ) for every value head. */
  #capped(ratio: Float32Array): Float32Array {
    for (let k = 0; k < this.#weights.length; k++) this.#weights[k] = Math.min(1, ratio[k % ratio.length]!);
    return this.#weights;
  }
}

/** Sums active float32 [N, R] over agents. */
function countActive(active: Float32Array, into: Float32Array): void {
  into.fill(0);
  for (let k = 0; k < active.length; k++) into[k % into.length]! += active[k]!;
}
