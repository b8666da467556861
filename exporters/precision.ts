/**
 * What of an exported graph is float16 where that is asked for, and what stays float32. Not how numbers are rounded:
 * `src/base/half.ts`.
 *
 * The linear maps between the first normalisation and the head run in float16 whole, their adapters included: weights,
 * factors and products are what fills memory and time. All else is float32: encoding, normalisation, gates, recurrent
 * state, log-std, the head, its bounds and log-probabilities. Sums of squares, small variances, what becomes the action
 * and 1 − tanh² are where half the bits do not do, and they are little work.
 */
import { adaptedLayer, type WeightBinding } from "../models/bindings.ts";
import type { Team } from "../models/team.ts";
import { LorasaError } from "../src/base/errors.ts";
import { halfTensor } from "../src/base/half.ts";
import type { FloatTensor, HostTensor } from "../src/base/tensor.ts";
import { ADAPTER_DTYPES, type Precision } from "../src/checkpoint/repository.ts";

/** Element types that a linear map can run in. */
export type WeightType = (typeof ADAPTER_DTYPES)[Precision];

/**
 * Most that an output may differ from the trained network's, in units of its scale (see `ExpectedStep`). Float32's is
 * what the same products in another order make. Float16's is a hundredth of the width of actions: ten times what trained
 * networks differ by on the CPU, and twice what they did where a thousand products were also summed in float16, as
 * WebGPU does. More than that is a network that float16 does not suit.
 */
export const TOLERANCES: Readonly<Record<Precision, number>> = { fp32: 1e-5, fp16: 0.02 };

/** The layer whose rounding nothing evens out: WebGPU's float16 sums cost it up to three times the difference. */
const HEAD = "head";

/** Why a precision that people ask for is not written. */
const NOT_WRITTEN: Readonly<Record<string, string>> = {
  int8: "int8 measured no faster on the CPU at common sizes and 40 times less exact than fp16: see docs/decisions.md",
};

/** @throws LORASA_CONFIG for a precision that is not written. */
export function exportPrecision(text: string): Precision {
  if (Object.hasOwn(ADAPTER_DTYPES, text)) return text as Precision;
  throw new LorasaError("LORASA_CONFIG", {
    asked: "export, precision",
    expected: Object.keys(ADAPTER_DTYPES).join(" or "),
    received: text,
    ...(NOT_WRITTEN[text] && { mend: NOT_WRITTEN[text] }),
  });
}

/**
 * A binding whose linear maps run in the precision's type, activations in and out being float32.
 * @param make gives the binding whose weights have the type.
 */
export function typedBinding(
  team: Team,
  precision: Precision,
  make: (dtype: WeightType) => WeightBinding,
): WeightBinding {
  const full = make("float32");
  const dtype = ADAPTER_DTYPES[precision];
  if (dtype === "float32") return full;
  const half = make(dtype);
  const kept = [HEAD, rawLayer(team)];
  return {
    linear: (g, x, spec) =>
      kept.includes(spec.name)
        ? full.linear(g, x, spec)
        : g.cast(half.linear(g, g.cast(x, dtype), spec), "float32"),
    vector: (g, spec) => full.vector(g, spec),
  };
}

/** The tensor in a type. @throws LORASA_RANGE naming `what` for a number that float16 does not hold. */
export function typedTensor(tensor: FloatTensor, dtype: WeightType, what: string): HostTensor {
  return dtype === "float16" ? halfTensor(tensor, what) : tensor;
}

/**
 * The layer that reads observations as the simulator gives them, if no normalisation is before it. It stays float32:
 * positions and forces pass 65,504, and 11 bits of a large one say little about its changes.
 */
function rawLayer({ actor, parameters }: Team): string | undefined {
  if (actor.body.featureNorm || actor.encoder.standardise) return undefined;
  // Parameters are in the order in which the network asks for them.
  return parameters.backbone.specs.map(adaptedLayer).find((layer) => layer !== undefined)?.name;
}
