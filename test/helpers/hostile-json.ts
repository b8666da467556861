/**
 * JSON texts made wrong on purpose, from sound ones: fields missing, twice or of another kind, numbers that no type
 * holds, deep nesting, names of prototypes. Not which request or file they are for.
 */
import fc from "fast-check";

/** JSON before it is text, so that it can hold what no object can: a key twice, a number of any spelling. */
export type JsonTree =
  | { readonly kind: "object"; readonly entries: readonly (readonly [string, JsonTree])[] }
  | { readonly kind: "array"; readonly items: readonly JsonTree[] }
  | { readonly kind: "text"; readonly text: string };

/** One change of a tree, at its `at`-th value. */
export interface JsonChange {
  readonly at: number;
  readonly how: (typeof WAYS)[number];
  /** A value as its text. */
  readonly value: string;
  readonly key: string;
  readonly times: number;
}

const WAYS = ["replace", "drop", "twice", "add", "wrap", "repeat", "swap", "rename"] as const;

/** Texts that are values of JSON, or nearly. */
export const HOSTILE_VALUES: readonly string[] = [
  ..."null true false 0 -0 1 -1 2 3 0.5 -0.5 1e-400 1e308 1e400 -1e400 NaN Infinity -Infinity 01 +1 .5 1. 0x10".split(
    " ",
  ),
  ..."255 256 65535 65536 65537 2147483647 2147483648 -2147483649 4294967295 4294967296 4294967297".split(
    " ",
  ),
  ..."9007199254740991 9007199254740992 -9007199254740993 9223372036854775807 18446744073709551616".split(
    " ",
  ),
  ..."[] {} [[]] [{}] [null] {} [[[[[[[[[[]]]]]]]]]] [1,2] [[1,2],[3]] [0,0] [1,2,3] [2,3]".split(" "),
  ...'"" "0" "1" "-1" "NaN" "true" "\\u0000" "\\ud800" "\\udc00x" "__proto__" "constructor" "toString"'.split(
    " ",
  ),
  ...'"FP32" "FP64" "FP16" "BF16" "BOOL" "INT8" "INT64" "UINT64" "BYTES" "STRING" "F32" "F16" "F64" "BF16" "I64"'.split(
    " ",
  ),
  ...'"agent_0" "agent_1" "agent_9" "agent_0.blue" "../agent_0" "..\\\\agent_0" "/etc/passwd" "C:\\\\x"'.split(
    " ",
  ),
  ...'"obs" "agent" "adapter" "hidden_in" "action" "hidden_out" "OBS" "obs\\n" "observ\\u0041tion"'.split(
    " ",
  ),
  '{"__proto__":{"length":5}}',
  '{"constructor":{"prototype":{"x":1}}}',
  '{"then":1,"toJSON":2,"length":-1}',
  `"${"A".repeat(300)}"`,
  `"${"é😀".repeat(400)}"`,
  `"${"\\n".repeat(10_000)}"`,
  `${"[".repeat(500)}${"]".repeat(500)}`,
  `${"[".repeat(7900)}${"]".repeat(7900)}`,
  `${'{"a":'.repeat(200)}1${"}".repeat(200)}`,
  `${"9".repeat(400)}`,
  "",
  "[",
  '"',
  "//x",
  "1 2",
];

export const HOSTILE_KEYS: readonly string[] = [
  "__proto__",
  "constructor",
  "prototype",
  "toString",
  "hasOwnProperty",
  "length",
  "then",
  "",
  "id",
  "name",
  "shape",
  "data",
  "datatype",
  "inputs",
  "outputs",
  "parameters",
  "binary_data_size",
  "binary_data",
  "binary_data_output",
  "shared_memory_region",
  "classification",
  "sequence_id",
  "sequence_start",
  "sequence_end",
  "priority",
  "timeout",
  "adapter_id",
  "triton_x",
  "path",
  "config",
  "load_inplace",
  "pin",
  "sha256",
  "drain",
  "__metadata__",
  "data_offsets",
  "dtype",
  "r",
  "lora_alpha",
  "rank_pattern",
  "use_dora",
  "0",
  "\n",
  "\u0000",
  "\u{1f600}",
  "k".repeat(500),
];

export const jsonChange: fc.Arbitrary<JsonChange> = fc.record({
  at: fc.nat(200),
  how: fc.constantFrom(...WAYS),
  value: fc.constantFrom(...HOSTILE_VALUES),
  key: fc.constantFrom(...HOSTILE_KEYS),
  times: fc.nat(120),
});

export function toTree(value: unknown): JsonTree {
  if (Array.isArray(value)) return { kind: "array", items: value.map(toTree) };
  if (typeof value === "object" && value !== null) {
    return { kind: "object", entries: Object.entries(value).map(([key, entry]) => [key, toTree(entry)]) };
  }
  return { kind: "text", text: JSON.stringify(value) };
}

export function printTree(tree: JsonTree): string {
  if (tree.kind === "text") return tree.text;
  if (tree.kind === "array") return `[${tree.items.map(printTree).join(",")}]`;
  return `{${tree.entries.map(([key, value]) => `${JSON.stringify(key)}:${printTree(value)}`).join(",")}}`;
}

export function changeTree(tree: JsonTree, changes: readonly JsonChange[]): JsonTree {
  return changes.reduce((changed, change) => {
    const counter = { left: change.at % countValues(changed) };
    return visit(changed, change, counter) ?? { kind: "text", text: "" };
  }, tree);
}

function countValues(tree: JsonTree): number {
  if (tree.kind === "text") return 1;
  const values = tree.kind === "array" ? tree.items : tree.entries.map(([, value]) => value);
  return values.reduce((sum, value) => sum + countValues(value), 1);
}

/** The tree with its `left`-th value changed; undefined when that drops it. */
function visit(tree: JsonTree, change: JsonChange, counter: { left: number }): JsonTree | undefined {
  if (counter.left-- === 0) return changed(tree, change);
  if (tree.kind === "text") return tree;
  if (tree.kind === "array") {
    const items = tree.items.map((item) => visit(item, change, counter)).filter((item) => item !== undefined);
    return { kind: "array", items };
  }
  const entries = tree.entries.flatMap(([key, value]): (readonly [string, JsonTree])[] => {
    const here = counter.left === 0;
    const next = visit(value, change, counter);
    if (next === undefined) return [];
    if (here && change.how === "rename") return [[change.key, next]];
    if (here && change.how === "twice")
      return [
        [key, next],
        [key, { kind: "text", text: change.value }],
      ];
    return [[key, next]];
  });
  return { kind: "object", entries };
}

function changed(tree: JsonTree, { how, value, key, times }: JsonChange): JsonTree | undefined {
  const hostile: JsonTree = { kind: "text", text: value };
  if (how === "drop") return undefined;
  if (how === "replace") return hostile;
  if (how === "wrap")
    return { kind: "text", text: `${"[".repeat(times)}${printTree(tree)}${"]".repeat(times)}` };
  if (how === "swap")
    return tree.kind === "array"
      ? { kind: "object", entries: [[key, tree]] }
      : { kind: "array", items: [tree] };
  if (tree.kind === "array" && how === "repeat") {
    return { kind: "array", items: Array.from({ length: times }, () => tree.items).flat() };
  }
  if (tree.kind === "array" && how === "add") return { kind: "array", items: [...tree.items, hostile] };
  if (tree.kind === "object" && how === "add")
    return { kind: "object", entries: [...tree.entries, [key, hostile]] };
  return tree;
}
