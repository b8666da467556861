/**
 * Tensors of slots `[S, …]` in a runtime's memory, where one slot of all of them is overwritten at a time: on WebGPU
 * by one small graph that uploads the slot and nothing else. Not what lies in which slot.
 */
import { DTYPES, elementCount, type HostTensor } from "../base/tensor.ts";
import { encodeModel } from "../onnx/encode.ts";
import type { OnnxModel, OnnxNode } from "../onnx/model.ts";
import type { BoundRun, ResidentTensor, RunTensor, Runtime, Session } from "./session.ts";

/** One of the tensors: a slot of it is `dims`, and lies at `offset` of a slot's values. */
export interface SlotPart {
  readonly name: string;
  readonly dims: readonly number[];
  readonly offset: number;
  readonly length: number;
}

/** Owns its memory until `dispose`. */
export interface Slots {
  /** `[S, …dims]` by part, the same object until {@link grow}. */
  readonly tensors: Readonly<Record<string, RunTensor>>;
  readonly count: number;
  readonly bytes: number;
  /** Overwrites a slot: every part behind each other. Runs that were called before see the old values. */
  put(slot: number, values: SlotValues): void;
  /** The first slots of every part: another object at each call. */
  first(count: number): Readonly<Record<string, RunTensor>>;
  /** Replaces the tensors by larger ones that begin with the same slots. */
  grow(count: number): void;
  dispose(): void;
}

/** What slots are of. */
export interface SlotForm {
  readonly parts: readonly SlotPart[];
  /** Of the tensors and of the values that are put into them. Default float32. */
  readonly dtype?: SlotType;
}

export type SlotType = "float32" | "float16";
/** float32, or the bits of float16. */
export type SlotValues = Float32Array | Uint16Array;

/** @throws LORASA_DEVICE when the device's memory has no room. */
export function createSlots(runtime: Runtime, form: SlotForm, count: number): Slots {
  return runtime.device === "webgpu" ? new DeviceSlots(runtime, form, count) : new HostSlots(form, count);
}

class HostSlots implements Slots {
  readonly #parts: readonly SlotPart[];
  readonly #dtype: SlotType;
  #tensors: Readonly<Record<string, SlotTensor>>;
  #count: number;

  constructor({ parts, dtype = "float32" }: SlotForm, count: number) {
    this.#parts = parts;
    this.#dtype = dtype;
    this.#count = count;
    this.#tensors = hostTensors(parts, dtype, count);
  }

  get tensors(): Readonly<Record<string, SlotTensor>> {
    return this.#tensors;
  }

  get count(): number {
    return this.#count;
  }

  get bytes(): number {
    return slotBytes(this.#parts, this.#dtype) * this.#count;
  }

  put(slot: number, values: SlotValues): void {
    for (const { name, offset, length } of this.#parts) {
      this.#tensors[name]!.data.set(values.subarray(offset, offset + length), slot * length);
    }
  }

  first(count: number): Readonly<Record<string, SlotTensor>> {
    return mapParts(this.#parts, ({ name, dims, length }) => {
      const data = this.#tensors[name]!.data.subarray(0, count * length);
      return { dtype: this.#dtype, dims: [count, ...dims], data };
    });
  }

  grow(count: number): void {
    const larger = hostTensors(this.#parts, this.#dtype, count);
    for (const { name } of this.#parts) larger[name]!.data.set(this.#tensors[name]!.data);
    this.#tensors = larger;
    this.#count = count;
  }

  dispose(): void {
    this.#tensors = {};
  }
}

class DeviceSlots implements Slots {
  readonly #runtime: Runtime;
  readonly #parts: readonly SlotPart[];
  readonly #dtype: SlotType;
  readonly #session: Session;
  /** One slot's values, read when a put is run. */
  readonly #staged: SlotValues;
  readonly #slot = BigInt64Array.of(0n);
  #tensors: Readonly<Record<string, ResidentTensor>>;
  #count: number;
  #putting: BoundRun;

  constructor(runtime: Runtime, { parts, dtype = "float32" }: SlotForm, count: number) {
    this.#runtime = runtime;
    this.#parts = parts;
    this.#dtype = dtype;
    this.#count = count;
    this.#staged = new DTYPES[dtype].array(slotLength(parts));
    this.#session = runtime.createSession(encodeModel(putGraph(parts, dtype)));
    try {
      this.#tensors = this.#allocate(count);
      this.#putting = this.#bindPut();
    } catch (error) {
      this.#session.dispose();
      throw error;
    }
  }

  get tensors(): Readonly<Record<string, ResidentTensor>> {
    return this.#tensors;
  }

  get count(): number {
    return this.#count;
  }

  get bytes(): number {
    return slotBytes(this.#parts, this.#dtype) * this.#count;
  }

  put(slot: number, values: SlotValues): void {
    this.#slot[0] = BigInt(slot);
    this.#staged.set(values);
    this.#putting.run();
  }

  first(count: number): Readonly<Record<string, ResidentTensor>> {
    return mapParts(this.#parts, ({ name }) => this.#tensors[name]!.first(count));
  }

  grow(count: number): void {
    const [old, oldCount] = [this.#tensors, this.#count];
    this.#tensors = this.#allocate(count);
    this.#count = count;
    try {
      this.#copyFrom(old, oldCount);
      this.#putting = this.#bindPut();
    } catch (error) {
      // Slots that were not copied must not be taken for those that were.
      disposeAll(this.#tensors);
      [this.#tensors, this.#count] = [old, oldCount];
      throw error;
    }
    disposeAll(old);
  }

  dispose(): void {
    disposeAll(this.#tensors);
    this.#session.dispose();
  }

  #copyFrom(old: Readonly<Record<string, ResidentTensor>>, count: number): void {
    const slots = BigInt64Array.from({ length: count }, (_, slot) => BigInt(slot));
    this.#session.run(
      this.#feeds(slots, (name) => old[name]!),
      this.#fetches(),
    );
  }

  #allocate(count: number): Record<string, ResidentTensor> {
    const made: ResidentTensor[] = [];
    try {
      return mapParts(this.#parts, ({ dims }) => {
        const tensor = this.#runtime.allocate(this.#dtype, [count, ...dims]);
        made.push(tensor);
        return tensor;
      });
    } catch (error) {
      for (const tensor of made) tensor.dispose();
      throw error;
    }
  }

  #bindPut(): BoundRun {
    const staged = mapParts(this.#parts, ({ dims, offset, length }): SlotTensor => {
      const data = this.#staged.subarray(offset, offset + length);
      return { dtype: this.#dtype, dims: [1, ...dims], data };
    });
    return this.#session.bind(
      this.#feeds(this.#slot, (name) => staged[name]!),
      this.#fetches(),
    );
  }

  #feeds(slots: BigInt64Array, values: (part: string) => RunTensor): Record<string, RunTensor> {
    const feeds: Record<string, RunTensor> = {
      slots: { dtype: "int64", dims: [slots.length, 1], data: slots },
    };
    for (const { name } of this.#parts) {
      feeds[`bank/${name}`] = this.#tensors[name]!;
      feeds[`values/${name}`] = values(name);
    }
    return feeds;
  }

  /** Each tensor is overwritten where it lies: a slot's bytes move, not the bank's. */
  #fetches(): Record<string, RunTensor> {
    return Object.fromEntries(this.#parts.map(({ name }) => [`filled/${name}`, this.#tensors[name]!]));
  }
}

function disposeAll(tensors: Readonly<Record<string, ResidentTensor>>): void {
  for (const tensor of Object.values(tensors)) tensor.dispose();
}

/** Of each part: `bank/…` [count, …] with `values/…` [puts, …] in the slots `slots` [puts, 1] is `filled/…`. */
function putGraph(parts: readonly SlotPart[], dtype: SlotType): OnnxModel {
  const float = (name: string, first: string, dims: readonly number[]) =>
    ({ name, dtype, shape: [first, ...dims] }) as const;
  return {
    irVersion: 8,
    opset: 15,
    name: "put",
    inputs: [
      { name: "slots", dtype: "int64", shape: ["puts", 1] },
      ...parts.flatMap(({ name, dims }) => [
        float(`bank/${name}`, "count", dims),
        float(`values/${name}`, "puts", dims),
      ]),
    ],
    outputs: parts.map(({ name, dims }) => float(`filled/${name}`, "count", dims)),
    initializers: new Map(),
    nodes: parts.map(
      ({ name }): OnnxNode => ({
        name: `put/${name}`,
        op: "ScatterND",
        inputs: [`bank/${name}`, "slots", `values/${name}`],
        outputs: [`filled/${name}`],
        attributes: {},
      }),
    ),
    metadata: {},
  };
}

interface SlotTensor extends HostTensor {
  readonly data: SlotValues;
}

function hostTensors(parts: readonly SlotPart[], dtype: SlotType, count: number): Record<string, SlotTensor> {
  return mapParts(parts, ({ dims }) => {
    const sizes = [count, ...dims];
    return { dtype, dims: sizes, data: new DTYPES[dtype].array(elementCount(sizes)) };
  });
}

function slotLength(parts: readonly SlotPart[]): number {
  return parts.reduce((sum, { length }) => sum + length, 0);
}

function slotBytes(parts: readonly SlotPart[], dtype: SlotType): number {
  return slotLength(parts) * DTYPES[dtype].bytes;
}

function mapParts<T>(parts: readonly SlotPart[], change: (part: SlotPart) => T): Record<string, T> {
  return Object.fromEntries(parts.map((part) => [part.name, change(part)]));
}
