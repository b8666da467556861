/** Which folder may import which, who alone may touch a native package, and that no files import each other in a ring. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { builtinModules } from "node:module";
import { dirname, join, normalize } from "node:path";
import { test } from "node:test";

/** What each folder may import besides itself, Node and packages. `cli` and the public `src/index.ts` may all. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  "src/base": [],
  "src/onnx": ["src/base"],
  "src/graph": ["src/base", "src/onnx"],
  "src/autodiff": ["src/base", "src/onnx", "src/graph"],
  "src/optim": ["src/base", "src/onnx", "src/graph", "src/autodiff"],
  "src/runtime": ["src/base", "src/onnx"],
  "src/envs": ["src/base"],
  models: ["src/base", "src/onnx", "src/graph"],
  "src/training": [
    "src/base",
    "src/onnx",
    "src/graph",
    "src/autodiff",
    "src/optim",
    "src/runtime",
    "src/envs",
    "src/checkpoint",
    "models",
  ],
  "src/checkpoint": ["src/base"],
  "src/report": ["src/base"],
  exporters: ["src/base", "src/onnx", "src/graph", "src/runtime", "src/checkpoint", "models"],
  server: ["src/base", "src/runtime", "src/checkpoint"],
};

const FREE: readonly string[] = ["src/cli", "src/index.ts"];

/** Packages of one owner: a file or a folder. */
const OWNED: readonly (readonly [RegExp, string])[] = [
  [/^onnxruntime-/, "src/runtime/onnxruntime"],
  [/^@mujoco\//, "src/envs/mujoco/"],
  [/^@tensorflow\//, "src/runtime/"],
];

interface Import {
  readonly from: string;
  /** A file of the project, or a package's name. */
  readonly to: string;
  readonly local: boolean;
  /** Erased before the file runs. */
  readonly typeOnly: boolean;
}

/** `import … from`, `export … from`, bare `import "x"`, `import("x")` and `createRequire(…)("x")`. */
const IMPORT =
  /^\s*(?:import|export)\s+(type\s)?[^"';()=]*?\sfrom\s+"([^"]+)"|^\s*import\s+"([^"]+)"|\bimport\(\s*"([^"]+)"|\b(?:createRequire\([^)]*\)|require(?:\.resolve)?)\(\s*"([^"]+)"/gm;

/** The imports of a source text. A worker's `new URL("./x.ts", import.meta.url)` starts a thread and is none. */
function importsOf(from: string, source: string): Import[] {
  const code = source.replace(/\/\*[\s\S]*?\*\//g, "").replace(/^\s*\/\/.*$/gm, "");
  return [...code.matchAll(IMPORT)].map((match) => {
    const target = match.slice(2).find((name) => name !== undefined)!;
    const local = target.startsWith(".");
    const to = local ? normalize(join(dirname(from), target)).replaceAll("\\", "/") : target;
    return { from, to, local, typeOnly: match[1] !== undefined };
  });
}

const files = ["src", "models", "exporters", "server"].flatMap((root) =>
  readdirSync(root, { recursive: true })
    .map((file) => `${root}/${String(file).replaceAll("\\", "/")}`)
    .filter((file) => file.endsWith(".ts")),
);
const imports = files.flatMap((file) => importsOf(file, readFileSync(file, "utf8")));

const folderOf = (file: string): string => {
  const [root, folder] = file.split("/") as [string, string];
  return root === "src" ? `src/${folder}` : root;
};

function forbiddenEdges(edges: readonly Import[]): string[] {
  return edges
    .filter(({ local }) => local)
    .filter(({ from, to }) => {
      const [folder, target] = [folderOf(from), folderOf(to)];
      return folder !== target && !FREE.includes(folder) && !MAY_IMPORT[folder]?.includes(target);
    })
    .map(({ from, to }) => `${from} imports ${to}`);
}

function takenPackages(edges: readonly Import[]): string[] {
  return edges
    .filter(({ from, to, local }) => {
      const owner = OWNED.find(([name]) => name.test(to))?.[1];
      return !local && owner !== undefined && !from.startsWith(owner);
    })
    .map(({ from, to }) => `${from} imports ${to}`);
}

/** A ring of files, each importing the next at run time, or undefined. */
function findRing(edges: readonly Import[]): string[] | undefined {
  const targets = new Map<string, string[]>();
  for (const { from, to, local, typeOnly } of edges) {
    if (local && !typeOnly) targets.set(from, [...(targets.get(from) ?? []), to]);
  }
  const clear = new Set<string>();
  const visit = (file: string, path: readonly string[]): string[] | undefined => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
    if (clear.has(file)) return undefined;
    for (const target of targets.get(file) ?? []) {
      const ring = visit(target, [...path, file]);
      if (ring) return ring;
    }
    clear.add(file);
    return undefined;
  };
  for (const file of targets.keys()) {
    const ring = visit(file, []);
    if (ring) return ring;
  }
  return undefined;
}

test("imports of every form are seen", () => {
  const source = [
    'import { a } from "../base/a.ts";',
    'import type { B } from "./b.ts";',
    'import {\n  type C,\n  c,\n} from "./c.ts";',
    'export { d } from "../../models/d.ts";',
    'import "./e.ts";',
    'const f = await import("./f.ts");',
    'createRequire(import.meta.url)("onnxruntime-node/dist/binding.js");',
    '// import { g } from "./g.ts";',
    '/* import { h } from "./h.ts"; */',
    'const text = "from";',
    'import onnx from "onnx-proto";',
  ].join("\n");
  assert.deepEqual(
    importsOf("src/graph/x.ts", source).map(({ to, typeOnly }) => [to, typeOnly]),
    [
      ["src/base/a.ts", false],
      ["src/graph/b.ts", true],
      ["src/graph/c.ts", false],
      ["models/d.ts", false],
      ["src/graph/e.ts", false],
      ["src/graph/f.ts", false],
      ["onnxruntime-node/dist/binding.js", false],
      ["onnx-proto", false],
    ],
  );
});

test("a wrong edge, a ring and a package of another's are found", () => {
  const edge = (from: string, to: string, local = true, typeOnly = false): Import => ({
    from,
    to,
    local,
    typeOnly,
  });
  assert.equal(forbiddenEdges([edge("server/app.ts", "src/training/gae.ts")]).length, 1);
  assert.equal(forbiddenEdges([edge("server/app.ts", "models/policy.ts", true, true)]).length, 1);
  assert.equal(forbiddenEdges([edge("src/new/x.ts", "src/base/errors.ts")]).length, 1);
  assert.equal(takenPackages([edge("server/app.ts", "onnxruntime-common", false)]).length, 1);
  const ring = [edge("a/x.ts", "a/y.ts"), edge("a/y.ts", "a/z.ts"), edge("a/z.ts", "a/y.ts")];
  assert.deepEqual(findRing(ring), ["a/y.ts", "a/z.ts", "a/y.ts"]);
  assert.equal(findRing([...ring.slice(0, 2), edge("a/z.ts", "a/y.ts", true, true)]), undefined);
});

test("folders import only those below them", () => {
  assert.ok(files.length > 20);
  assert.deepEqual(forbiddenEdges(imports), []);
});

test("every import names a file that exists", () => {
  const missing = imports.filter(({ to, local }) => local && !files.includes(to));
  assert.deepEqual(
    missing.map(({ from, to }) => `${from} imports ${to}`),
    [],
  );
});

test("native packages are imported by their owners alone, Node's modules with their prefix", () => {
  assert.deepEqual(takenPackages(imports), []);
  const bare = imports.filter(({ to, local }) => !local && builtinModules.includes(to));
  assert.deepEqual(bare, []);
});

test("no files import each other in a ring", () => {
  assert.equal(findRing(imports)?.join(" → "), undefined);
});
