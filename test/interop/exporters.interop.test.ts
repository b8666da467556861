import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { ExportMode } from "../../exporters/contents.ts";
import { exportTeam } from "../../exporters/export-team.ts";
import { fromHalf, halfTensor } from "../../src/base/half.ts";
import { Random } from "../../src/base/random.ts";
import { elementCount, floatTensor, type HostTensor } from "../../src/base/tensor.ts";
import { decodeOnnxAdapter } from "../../src/checkpoint/onnx-adapter.ts";
import type { Precision } from "../../src/checkpoint/repository.ts";
import { readModelManifest } from "../../src/checkpoint/repository-files.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import type { Session } from "../../src/runtime/session.ts";
import { randomTeam } from "../helpers/team.ts";
import { temporaryFolder } from "../helpers/temporary-folder.ts";
import { pythonWith } from "./python-environment.ts";

interface Case {
  readonly graph: string;
  readonly adapter: string | null;
  readonly inputs: Record<string, object>;
  readonly outputs: Record<string, object>;
}

interface Result {
  readonly graph: string;
  readonly opset: number;
  readonly metadata: Record<string, string>;
  readonly difference: number;
  /** From ONNX's own evaluator, which rounds every float16 value. */
  readonly reference: number;
  readonly active?: number | string;
  readonly active_native?: number;
}

const ROWS = 3;
const MODES: readonly ExportMode[] = ["merged", "stacked", "factored"];
const PRECISIONS: readonly Precision[] = ["fp32", "fp16"];
/** Beside NumPy's kernels, in units of an output's largest value. The random adapters are far larger than trained ones. */
const REFERENCE_TOLERANCES = { fp32: 1e-5, fp16: 0.02 } as const;

test("Python's onnx and ONNX Runtime accept every graph and adapter and answer alike", (context) => {
  const found = pythonWith(["onnx", "onnxruntime", "numpy"]);
  if ("missing" in found) {
    context.skip(found.missing);
    return;
  }
  const repository = temporaryFolder(context);
  const cases = exportCases(repository);
  writeFileSync(join(repository, "cases.json"), JSON.stringify(cases));
  const script = join(import.meta.dirname, "onnx_check.py");
  const { status, stdout, stderr } = spawnSync(found.python, [script, repository], { encoding: "utf8" });
  assert.equal(status, 0, stderr);
  const { versions, results } = JSON.parse(stdout) as { versions: object; results: Result[] };
  context.diagnostic(JSON.stringify(versions));
  assert.equal(results.length, cases.length);
  for (const result of results) checkResult(context, result);
});

function checkResult(context: TestContext, { graph, difference, ...rest }: Result): void {
  const half = graph.includes("fp16");
  assert.ok(difference <= 1e-5, `${graph}: ${difference}`);
  assert.ok(rest.reference <= REFERENCE_TOLERANCES[half ? "fp16" : "fp32"], `${graph}: ${rest.reference}`);
  assert.equal(rest.metadata["lorasa.precision"], half ? "fp16" : "fp32", graph);
  assert.equal(rest.metadata["lorasa.format"], "lorasa-policy/1", graph);
  assert.equal(rest.opset, graph.includes("17") ? 17 : 15, graph);
  if (rest.active_native === undefined) return;
  assert.ok(rest.active_native <= 1e-5, `${graph} with an active adapter: ${rest.active_native}`);
  // Python's wrapper asks for every required input before the run would take them from the adapter.
  context.diagnostic(`${graph}, active adapter through Python's run: ${rest.active}`);
}

/** Exports small teams in every mode and records what onnxruntime-node answers on random rows. */
function exportCases(repository: string): Case[] {
  const cases: Case[] = [];
  for (const opset of [15, 17]) {
    for (const head of ["squashed-gaussian", "categorical"] as const) {
      const team = randomTeam({ head, recurrent: true, observationSizes: [5, 3], actionSizes: [2, 3] });
      for (const [mode, precision] of MODES.flatMap((own) => PRECISIONS.map((one) => [own, one] as const))) {
        const name = `${mode}-${head}-${precision}-${opset}`;
        const { directory } = exportTeam(team, { mode, repository, name, opset, precision, sampled: true });
        const { graphs } = readModelManifest(directory);
        const paths = [graphs.team, graphs.rows, graphs.single, ...Object.values(graphs.agents ?? {})];
        for (const path of paths.filter((one) => one !== undefined)) {
          const adapter = path === graphs.single ? `${name}/adapters/agent_1.onnx_adapter` : null;
          cases.push(recordCase(repository, `${name}/${path}`, adapter));
        }
      }
    }
  }
  return cases;
}

function recordCase(repository: string, graph: string, adapter: string | null): Case {
  const session = createRuntime().createSession(readFileSync(join(repository, graph)));
  const parameters = adapter
    ? decodeOnnxAdapter(readFileSync(join(repository, adapter)), adapter).parameters
    : new Map<string, HostTensor>();
  const inputs = randomInputs(session, new Set(parameters.keys()));
  const outputs = session.run({ ...inputs, ...Object.fromEntries(parameters) }) as Record<string, HostTensor>;
  session.dispose();
  return { graph, adapter, inputs: plain(inputs), outputs: plain(outputs) };
}

function randomInputs(session: Session, known: ReadonlySet<string>): Record<string, HostTensor> {
  const random = new Random(3);
  const inputs = session.inputs.filter(({ name }) => !known.has(name));
  return Object.fromEntries(
    inputs.map(({ name, dtype, shape }): [string, HostTensor] => {
      const dims = shape.map((size) => (typeof size === "number" ? size : size === "slots" ? 2 : ROWS));
      const length = elementCount(dims);
      if (dtype === "int64") {
        return [name, { dtype, dims, data: BigInt64Array.from({ length }, () => BigInt(random.integer(2))) }];
      }
      const draw = name === "action_mask" ? () => 1 : () => random.normal();
      const numbers = Float32Array.from({ length }, draw);
      if (dtype === "float16") return [name, halfTensor(floatTensor(dims, numbers), name)];
      return [name, floatTensor(dims, numbers)];
    }),
  );
}

function plain(tensors: Readonly<Record<string, HostTensor>>): Record<string, object> {
  return Object.fromEntries(
    Object.entries(tensors).map(([name, { dtype, dims, data }]) => {
      const values = dtype === "float16" ? fromHalf(data as Uint16Array) : data;
      return [name, { dtype, dims, data: Array.from(values as ArrayLike<number | bigint>, Number) }];
    }),
  );
}
