/**
 * What does a device give? Team steps of merged, stacked and factored policies over hidden sizes, agents and rows; a
 * swap; the memory of many adapters; a training step, beside PyTorch's where `python3` has it. The CPU with one thread
 * and with all, WebGPU, and CUDA where its files are.
 *
 *     node --import tsx test/bench/device.ts [--part swap,memory,train,steps] [--device cpu,webgpu,cuda] [--minutes 8.5]
 *                                            [--out runs/device/device.json] [--quick]
 *
 * Every case runs in a fresh process and what it finds is kept at once: a run that is cut off, or out of minutes, is
 * gone on with by the same command. The last line is the findings as JSON; `device-results.ts` makes a page of them.
 */
import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import { deviceFault } from "../../src/runtime/probe.ts";
import { DEVICES, type Device } from "../../src/runtime/session.ts";
import { addFinding, type Finding, type Findings, openFindings, saveFindings } from "./device/findings.ts";
import { machineFacts } from "./device/machine.ts";
import { measureMemory } from "./device/memory.ts";
import {
  type Case,
  caseKey,
  casesOf,
  FULL,
  LIMITS,
  PARTS,
  QUICK,
  runnersOf,
  type Sizes,
} from "./device/plan.ts";
import { measureSteps } from "./device/steps.ts";
import { measureSwap } from "./device/swap.ts";
import { measureTorch, torchDevices } from "./device/torch.ts";
import { measureTraining } from "./device/train.ts";

/** A case that hangs is ended. */
const CASE_MS = 120_000;

const { values } = parseArgs({
  options: {
    part: { type: "string", default: PARTS.join(",") },
    device: { type: "string", default: DEVICES.join(",") },
    minutes: { type: "string", default: "8.5" },
    out: { type: "string", default: "runs/device/device.json" },
    quick: { type: "boolean", default: false },
    case: { type: "string" },
  },
});
const sizes = values.quick ? QUICK : FULL;

if (values.case === undefined) await runAll();
// Passed on by the process below.
else runCase(JSON.parse(values.case) as Case, sizes);

async function runAll(): Promise<void> {
  const deadline = performance.now() + Number(values.minutes) * 60e3;
  const devices = usable(named(values.device, DEVICES));
  const runners = runnersOf(devices);
  const torch = torchDevices();
  mkdirSync(dirname(values.out), { recursive: true });
  const command = `npm run bench:device${values.quick ? " -- --quick" : ""}`;
  const date = new Date().toISOString().slice(0, 10);
  const findings = openFindings(values.out, {
    date,
    machine: machineFacts(),
    command,
    sizes,
    limits: LIMITS,
  });
  const cases = named(values.part, PARTS).flatMap((part) => casesOf(part, sizes, runners, torch));
  for (const each of cases.filter((own) => !isWhole(findings, own))) {
    const left = deadline - performance.now();
    if (left <= 0) {
      say("out of minutes: the same command goes on");
      break;
    }
    await inFreshProcess(each, findings, Math.min(left, CASE_MS));
    saveFindings(values.out, findings);
  }
  process.stdout.write(`${JSON.stringify(findings)}\n`);
}

/** Those that work; what the others say goes to standard error. */
function usable(devices: readonly Device[]): Device[] {
  return devices.filter((device) => {
    const fault = deviceFault(createRuntime(device));
    if (fault) say(`${device} is left out: ${fault.message}`);
    return !fault;
  });
}

function isWhole(findings: Findings, each: Case): boolean {
  const key = caseKey(each);
  if (key in findings.failed) return true;
  const cells = sizes.agents.length * sizes.rows.length;
  return each.part === "steps" ? findings.steps[key]?.length === cells : key in findings[each.part];
}

/** Adds what a case prints as it comes; one that ends badly is told and not tried again. */
function inFreshProcess(each: Case, findings: Findings, timeoutMs: number): Promise<void> {
  const key = caseKey(each);
  const given = ["--case", JSON.stringify(each), "--out", values.out, ...(values.quick ? ["--quick"] : [])];
  const loader = ["--expose-gc", "--max-old-space-size=8192", "--import", "tsx"];
  const began = performance.now();
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [...loader, fileURLToPath(import.meta.url), ...given], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    const timer = setTimeout(() => child.kill("SIGKILL"), timeoutMs);
    // Written by this file.
    createInterface(child.stdout).on("line", (line) =>
      addFinding(findings, key, JSON.parse(line) as Finding),
    );
    let errors = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      errors += text;
    });
    child.once("close", (code, signal) => {
      clearTimeout(timer);
      const seconds = ((performance.now() - began) / 1e3).toFixed(1);
      const line = errors.split("\n").find((text) => /Error/.test(text)) ?? errors.trim().split("\n").at(-1);
      // One that ran out of time has kept what it found, and goes on in a later run.
      if (code !== 0 && signal !== "SIGKILL") findings.failed[key] = line || `exit code ${code}`;
      say(`${key}: ${seconds} s${code === 0 ? "" : `, ${signal ?? `failed: ${findings.failed[key]}`}`}`);
      resolve();
    });
  });
}

function runCase(each: Case, own: Sizes): void {
  if (each.part !== "steps") {
    print(measure(each, own));
    return;
  }
  const empty = { date: "", machine: machineFacts(), command: "", sizes: own, limits: LIMITS };
  const known = openFindings(values.out, empty).steps[caseKey(each)] ?? [];
  measureSteps(
    each,
    own,
    ({ agents, rows }) => known.find((cell) => cell.agents === agents && cell.rows === rows),
    (cell, figures) => print({ part: "steps", figures: { ...cell, ...figures } }),
  );
}

function measure(each: Exclude<Case, { part: "steps" }>, own: Sizes): Finding {
  const { part, hidden } = each;
  if (part === "swap") return { part, figures: measureSwap(each, own) };
  if (part === "memory") return { part, figures: measureMemory(each, own) };
  if ("torch" in each) return { part, figures: measureTorch(each.torch, hidden, own) };
  return { part, figures: measureTraining(each.runner, hidden, own) };
}

/** To eight digits: more is not in a float32. */
function print(finding: Finding): void {
  const rounded = (_: string, value: unknown): unknown =>
    typeof value === "number" ? Number(value.toPrecision(8)) : value;
  process.stdout.write(`${JSON.stringify(finding, rounded)}\n`);
}

function named<Name extends string>(text: string, known: readonly Name[]): Name[] {
  return text.split(",").map((part) => {
    const name = known.find((each) => each === part);
    if (name) return name;
    throw new Error(`${part} is none of ${known.join(", ")}`);
  });
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}
