/** Adapters made wrong on purpose: their configuration, the header and the bytes of their tensors. Not how they are sent. */
import fc from "fast-check";
import { CONFIG_FILE, encodeAdapter, TENSORS_FILE } from "../../src/checkpoint/peft.ts";
import { bytes } from "./hostile-headers.ts";
import { changeTree, type JsonChange, jsonChange, printTree, toTree } from "./hostile-json.ts";
import type { TinyPolicy } from "./tiny-models.ts";

export interface HostileAdapter {
  readonly config: string;
  readonly tensors: Buffer;
}

const LENGTH_BYTES = 8;

/** Lengths that a header may claim. */
const CLAIMED: readonly bigint[] = [
  0n,
  1n,
  7n,
  2n ** 31n,
  2n ** 53n,
  2n ** 53n + 1n,
  2n ** 63n,
  2n ** 64n - 1n,
];

/** Values that a float32 may be. */
const NUMBERS = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 3.4e38, -3.4e38, 1e-45, -0];

/** Starts of files that are something else. */
const OTHER_FORMATS = [
  "504b0304140008080800",
  "80049508000000",
  "1f8b0800",
  "425a68",
  "89504e470d0a1a0a",
  "7f454c46",
];

type Edit =
  | { readonly kind: "none" }
  | { readonly kind: "header"; readonly changes: readonly JsonChange[] }
  | { readonly kind: "length"; readonly length: bigint }
  | { readonly kind: "bytes"; readonly writes: readonly (readonly [number, number])[] }
  | { readonly kind: "cut"; readonly at: number }
  | { readonly kind: "more"; readonly tail: Buffer }
  | { readonly kind: "number"; readonly at: number; readonly value: number }
  | { readonly kind: "other"; readonly start: string };

const edit: fc.Arbitrary<Edit> = fc.oneof(
  fc.constant<Edit>({ kind: "none" }),
  fc.record({
    kind: fc.constant("header" as const),
    changes: fc.array(jsonChange, { minLength: 1, maxLength: 3 }),
  }),
  fc.record({
    kind: fc.constant("length" as const),
    length: fc.oneof(fc.constantFrom(...CLAIMED), fc.bigInt({ min: 0n, max: 600n })),
  }),
  fc.record({
    kind: fc.constant("bytes" as const),
    writes: fc.array(fc.tuple(fc.nat(1000), fc.integer({ min: 0, max: 255 })), {
      minLength: 1,
      maxLength: 5,
    }),
  }),
  fc.record({ kind: fc.constant("cut" as const), at: fc.nat(1000) }),
  fc.record({ kind: fc.constant("more" as const), tail: bytes(20) }),
  fc.record({ kind: fc.constant("number" as const), at: fc.nat(9), value: fc.constantFrom(...NUMBERS) }),
  fc.record({ kind: fc.constant("other" as const), start: fc.constantFrom(...OTHER_FORMATS) }),
);

/** For an agent of this policy. */
export function hostileAdapter(policy: TinyPolicy): fc.Arbitrary<HostileAdapter> {
  return fc
    .record({
      seed: fc.nat(3),
      changes: fc.oneof(
        { weight: 1, arbitrary: fc.constant([]) },
        { weight: 1, arbitrary: fc.array(jsonChange, { maxLength: 3 }) },
      ),
      edit,
    })
    .map(({ seed, changes, edit }) => {
      const files = encodeAdapter(policy.adapter(seed));
      const config = toTree(JSON.parse(Buffer.from(files[CONFIG_FILE]!).toString()));
      return {
        config: printTree(changeTree(config, changes)),
        tensors: edited(Buffer.from(files[TENSORS_FILE]!), edit),
      };
    });
}

function edited(tensors: Buffer, edit: Edit): Buffer {
  const copy = Buffer.from(tensors);
  switch (edit.kind) {
    case "none":
      return copy;
    case "header":
      return withHeader(copy, edit.changes);
    case "length":
      copy.writeBigUInt64LE(edit.length);
      return copy;
    case "bytes":
      for (const [at, value] of edit.writes) copy[at % copy.length] = value;
      return copy;
    case "cut":
      return copy.subarray(0, edit.at % copy.length);
    case "more":
      return Buffer.concat([copy, edit.tail]);
    case "number":
      copy.writeFloatLE(edit.value, copy.length - 4 - 4 * edit.at);
      return copy;
    case "other":
      return Buffer.concat([Buffer.from(edit.start, "hex"), copy]);
  }
}

/** With the header's length as it then is: what is wrong is what the header says. */
function withHeader(tensors: Buffer, changes: readonly JsonChange[]): Buffer {
  const length = Number(tensors.readBigUInt64LE());
  const header = JSON.parse(tensors.toString("utf8", LENGTH_BYTES, LENGTH_BYTES + length));
  const text = Buffer.from(printTree(changeTree(toTree(header), changes)));
  const prefix = Buffer.alloc(LENGTH_BYTES);
  prefix.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([prefix, text, tensors.subarray(LENGTH_BYTES + length)]);
}
