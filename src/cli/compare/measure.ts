/** Starts a fresh process that measures one task. */
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { LorasaError } from "../../base/errors.ts";
import type { AdaptersTask, LoadedBytes, MeasureTask, TeamMeasurement } from "./contract.ts";

/** glibc gives freed memory back from this size on, instead of a threshold that moves while a process runs. */
const MALLOC_THRESHOLD_BYTES = "131072";

/**
 * Measures a mode for teams of every size in a process of its own, which ends with it.
 * @param folder where the task may be written.
 * @throws LORASA_MEASURE when the process fails.
 */
export function measureInProcess(task: MeasureTask, folder: string): Promise<TeamMeasurement[]> {
  const asked = `measuring ${task.mode} on ${task.device}`;
  return ask<TeamMeasurement[]>("measure-worker", { task, folder, asked });
}

/** What a way to hold many adapters takes, in a process of its own. @throws as {@link measureInProcess}. */
export function measureAdaptersInProcess(task: AdaptersTask, folder: string): Promise<LoadedBytes> {
  const asked = `loading ${task.count} ${task.way} adapters on ${task.device}`;
  return ask<LoadedBytes>("adapters-worker", { task, folder, asked });
}

async function ask<Answer>(
  worker: string,
  { task, folder, asked }: { readonly task: object; readonly folder: string; readonly asked: string },
): Promise<Answer> {
  const path = join(folder, "task.json");
  writeFileSync(path, JSON.stringify(task));
  const { code, output, errors } = await run([...workerArguments(worker), path]);
  // Written by the worker a moment ago.
  if (code === 0) return JSON.parse(output) as Answer;
  const line = errors.split("\n").find((text) => /Error/.test(text)) ?? errors.trim().split("\n").at(-1);
  throw new LorasaError("LORASA_MEASURE", {
    asked,
    expected: "a process that ends well",
    received: `${code === null ? "a killed one" : `exit code ${code}`}${line ? `: ${line.trim()}` : ""}`,
    mend: "try fewer agents or rows",
  });
}

/** As TypeScript through tsx where this file is TypeScript, as it is where it was built. */
function workerArguments(worker: string): string[] {
  const typescript = import.meta.url.endsWith(".ts");
  const loader = typescript ? ["--import", import.meta.resolve("tsx")] : [];
  const path = fileURLToPath(new URL(`./${worker}.${typescript ? "ts" : "js"}`, import.meta.url));
  return ["--expose-gc", ...loader, path];
}

function run(
  argumentsOfNode: readonly string[],
): Promise<{ code: number | null; output: string; errors: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, argumentsOfNode, {
      stdio: ["ignore", "pipe", "pipe"],
      env: {
        ...process.env,
        MALLOC_TRIM_THRESHOLD_: MALLOC_THRESHOLD_BYTES,
        MALLOC_MMAP_THRESHOLD_: MALLOC_THRESHOLD_BYTES,
      },
    });
    let output = "";
    let errors = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      errors += text;
    });
    child.once("error", reject).once("close", (code) => resolve({ code, output, errors }));
  });
}
