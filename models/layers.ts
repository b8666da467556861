/** Layers that actor and critic share: normalisation, blocks, the recurrent cell. Heads are in `distributions.ts`. */
import { floatTensor } from "../src/base/tensor.ts";
import type { GraphBuilder } from "../src/graph/builder.ts";
import { fixedSize, type Value } from "../src/graph/value.ts";
import type { WeightBinding } from "./bindings.ts";

/** PyTorch's epsilon of LayerNorm, inside the root. */
export const LAYER_NORM_EPSILON = 1e-5;

const SQRT_2 = Math.SQRT2;
/** PyTorch's `calculate_gain` of the activation. */
const GAINS = { relu: SQRT_2, tanh: 5 / 3 } as const;

export type Activation = keyof typeof GAINS;

/**
 * (x − mean)/√(var + ε) over the last axis, population variance. One operator from opset 17 on, else the same in six.
 * @param x float32 [..., F]. @param gain, bias float32 [F], when the result is scaled and moved.
 */
export function normalise(g: GraphBuilder, x: Value, epsilon: number, gain?: Value, bias?: Value): Value {
  if (g.opset < 17) return affine(g, standardise(g, x, epsilon), gain, bias);
  const axis = -1;
  if (gain?.shape.length === 1 && bias?.shape.length === 1) {
    return g.apply("LayerNormalization", [x, gain, bias], { axis, epsilon });
  }
  const size = fixedSize(x.shape.at(axis), "LayerNormalization");
  const one = g.constant("one", floatTensor([size], new Float32Array(size).fill(1)));
  return affine(g, g.apply("LayerNormalization", [x, one], { axis, epsilon }), gain, bias);
}

function standardise(g: GraphBuilder, x: Value, epsilon: number): Value {
  const last = [x.shape.length - 1];
  const centred = g.sub(x, g.reduceMean(x, last, true));
  const variance = g.reduceMean(g.square(centred), last, true);
  return g.div(centred, g.sqrt(g.add(variance, epsilon)));
}

function affine(g: GraphBuilder, x: Value, gain: Value | undefined, bias: Value | undefined): Value {
  return gain && bias ? g.add(g.mul(x, gain), bias) : x;
}

/** LayerNorm with the gain and bias of a binding: parameters `<name>.weight` and `<name>.bias`. */
export function layerNorm(g: GraphBuilder, binding: WeightBinding, x: Value, name: string): Value {
  const size = fixedSize(x.shape.at(-1), name);
  return g.scope(name, () => {
    const gain = binding.vector(g, {
      name: `${name}.weight`,
      size,
      initializer: { kind: "constant", value: 1 },
    });
    const bias = binding.vector(g, {
      name: `${name}.bias`,
      size,
      initializer: { kind: "constant", value: 0 },
    });
    return normalise(g, x, LAYER_NORM_EPSILON, gain, bias);
  });
}

/** Linear → activation → LayerNorm: the norm is after the activation. */
export function block(
  g: GraphBuilder,
  binding: WeightBinding,
  x: Value,
  name: string,
  size: number,
  activation: Activation,
): Value {
  const hidden = g.scope(name, () =>
    g[activation](
      binding.linear(g, x, {
        name,
        inSize: fixedSize(x.shape.at(-1), name),
        outSize: size,
        weight: { kind: "orthogonal", gain: GAINS[activation] },
      }),
    ),
  );
  return layerNorm(g, binding, hidden, `${name}.norm`);
}

/** Where a recurrent network starts and which steps begin an episode. */
export interface RecurrentInputs {
  /** float32 [N, C, H]: state before the first step, C sequences. */
  readonly hidden: Value;
  /** float32 [N or 1, L·C, 1], time-major: 0 where the episode began at this step; left out for a single step. */
  readonly mask?: Value;
  /** L: steps of a sequence. */
  readonly steps: number;
}

/**
 * A GRU unrolled over L steps; rows of x are time-major, `[N, L·C, H]` (or `[B, H]` for a single step).
 *
 * r = σ(x_r + h_r), z = σ(x_z + h_z), n = tanh(x_n + r·h_n), h' = n + z·(h − n), with h set to 0 where the mask is 0.
 * @returns all states `[N, L·C, H]` and the last `[N, C, H]`.
 * @source PyTorch's GRUCell: gates in the order r, z, n, the reset gate after the hidden projection and its bias.
 */
export function gru(
  g: GraphBuilder,
  binding: WeightBinding,
  x: Value,
  { hidden, mask, steps }: RecurrentInputs,
): { states: Value; last: Value } {
  const size = fixedSize(x.shape.at(-1), "gru");
  return g.scope("gru", () => {
    const linear = (input: Value, name: string): Value =>
      binding.linear(g, input, {
        name,
        inSize: size,
        outSize: 3 * size,
        weight: { kind: "orthogonal", gain: 1 },
      });
    // Rows are cut before the projection: a third of the memory is moved, and each step's product stays in the cache.
    const inputs = perStep(g, x, steps);
    const masks = mask && perStep(g, g.expand(mask, x.shape.with(-1, 1)), steps);
    const states: Value[] = [];
    let state = hidden;
    for (let t = 0; t < steps; t++) {
      const before = masks ? g.mul(state, masks[t]!) : state;
      state = gruStep(g, linear(inputs[t]!, "gru.input"), linear(before, "gru.hidden"), before, size);
      states.push(state);
    }
    return { states: g.concat(states, -2 + x.shape.length), last: state };
  });
}

function gruStep(g: GraphBuilder, x: Value, h: Value, state: Value, size: number): Value {
  const axis = x.shape.length - 1;
  const [xGates, xNew] = g.split(x, [2 * size, size], axis) as [Value, Value];
  const [hGates, hNew] = g.split(h, [2 * size, size], axis) as [Value, Value];
  const [reset, update] = g.split(g.sigmoid(g.add(xGates, hGates)), [size, size], axis) as [Value, Value];
  const candidate = g.tanh(g.add(xNew, g.mul(reset, hNew)));
  return g.add(candidate, g.mul(update, g.sub(state, candidate)));
}

/** The rows of each step: `[N, L·C, F]` → L of `[N, C, F]`. */
function perStep(g: GraphBuilder, x: Value, steps: number): readonly Value[] {
  if (steps === 1) return [x];
  const axis = x.shape.length - 2;
  const rows = fixedSize(x.shape[axis], "sequence rows") / steps;
  return g.split(x, Array<number>(steps).fill(rows), axis);
}
