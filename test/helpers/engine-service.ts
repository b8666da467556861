/** The engine for one test, without doors: models on disk, requests in, numbers out. Not a server. */
import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import type { AdapterFiles } from "../../server/engine/adapter-intake.ts";
import type {
  AdapterEvent,
  BatchEvent,
  DeviceEvent,
  EngineEvents,
  ModelEvent,
} from "../../server/engine/events.ts";
import { LocalPolicyService, type ServiceOptions } from "../../server/engine/policy-service.ts";
import type { Adapters, InferCall } from "../../server/engine/service.ts";
import type { WireTensor } from "../../server/protocol/datatypes.ts";
import type { InferRequest, ParameterValue } from "../../server/protocol/request.ts";
import { type ErrorCode, LorasaError } from "../../src/base/errors.ts";
import { elementCount, floatTensor } from "../../src/base/tensor.ts";
import type { Adapter } from "../../src/checkpoint/adapter.ts";
import { CONFIG_FILE, encodeAdapter, TENSORS_FILE } from "../../src/checkpoint/peft.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import { temporaryFolder } from "./temporary-folder.ts";
import { type TinyOptions, TinyPolicy, writeTinyRepository } from "./tiny-models.ts";

export interface EventLog extends EngineEvents {
  readonly batches: BatchEvent[];
  readonly adapters: AdapterEvent[];
  readonly models: ModelEvent[];
  readonly devices: DeviceEvent[];
  readonly faults: unknown[];
}

export interface TinyEngine {
  readonly service: LocalPolicyService;
  /** Of `team`: those of this moment, since a model that is loaded again has others. */
  adapters(): Adapters;
  readonly policy: TinyPolicy;
  readonly repository: string;
  readonly events: EventLog;
}

/** An input without its name. */
type Values =
  | { readonly datatype: "FP32"; readonly shape: readonly number[]; readonly data: Float32Array }
  | { readonly datatype: "INT32"; readonly shape: readonly number[]; readonly data: Int32Array }
  | { readonly datatype: "BYTES"; readonly shape: readonly number[]; readonly data: string[] };

export type Inputs = Readonly<Record<string, Values>>;
export type Parameters = Readonly<Record<string, ParameterValue>>;

export interface Answer {
  readonly model: string;
  /** In plain numbers. */
  readonly outputs: Readonly<Record<string, readonly number[]>>;
  /** By adapter. */
  readonly versions: Readonly<Record<string, number>>;
}

const STAYS: InferCall = { cancelled: () => false };

/** Opens a repository of tiny models until the test ends; `policy` is the first one's. */
export async function openTiny(
  context: TestContext,
  models: TinyOptions | readonly TinyOptions[],
  options: Partial<ServiceOptions> = {},
): Promise<TinyEngine> {
  const all = [models].flat();
  const repository = temporaryFolder(context);
  writeTinyRepository(repository, all);
  const { service, events } = await openFolder(context, repository, options);
  return {
    service,
    events,
    repository,
    policy: new TinyPolicy(all[0]!),
    adapters: () => service.adapters("team"),
  };
}

/** The same for a repository that is there. */
export async function openFolder(
  context: TestContext,
  repository: string,
  options: Partial<ServiceOptions> = {},
): Promise<Pick<TinyEngine, "service" | "events">> {
  const events = eventLog();
  const service = await LocalPolicyService.open(repository, {
    runtime: createRuntime(),
    threads: 1,
    events,
    // Where a batch runs depends on how busy this machine is otherwise.
    longRunMs: Number.POSITIVE_INFINITY,
    ...options,
  });
  context.after(() => service.close());
  return { service, events };
}

function eventLog(): EventLog {
  const log = { batches: [], adapters: [], models: [], devices: [], faults: [] } as Omit<
    EventLog,
    keyof EngineEvents
  >;
  return {
    ...log,
    batch: (event) => log.batches.push(event),
    adapter: (event) => log.adapters.push(event),
    model: (event) => log.models.push(event),
    device: (event) => log.devices.push(event),
    cpuNodes: () => {},
    fault: (error) => log.faults.push(error),
  };
}

/** float32 of a shape. */
export function floats(shape: readonly number[], data: ArrayLike<number>): Values {
  assert.equal(data.length, elementCount(shape));
  return { datatype: "FP32", shape, data: Float32Array.from(data) };
}

/** A row of names. */
export function names(...data: readonly string[]): Values {
  return { datatype: "BYTES", shape: [data.length], data: [...data] };
}

/** A row of indices. */
export function indices(...data: readonly number[]): Values {
  return { datatype: "INT32", shape: [data.length], data: Int32Array.from(data) };
}

interface AskOptions extends Partial<InferCall> {
  /** Of those that the model has; all of them when absent. */
  readonly outputs?: readonly string[];
}

/** Asks one of the service's names and waits. */
export async function ask(
  { service }: { readonly service: Pick<LocalPolicyService, "endpoint" | "infer"> },
  model: string,
  inputs: Inputs,
  parameters: Parameters = {},
  { outputs: wanted, ...call }: AskOptions = {},
): Promise<Answer> {
  const outputs = wanted?.map((name) => ({ name, binary: true }));
  const request = { ...inferRequest(inputs, parameters), ...(outputs && { outputs }) };
  const result = await service.infer(service.endpoint(model), request, { ...STAYS, ...call });
  const answered = result.outputs.map(
    ({ tensor }) => [tensor.name, Array.from(numbersOf(tensor), Number)] as const,
  );
  return {
    model: result.modelName,
    outputs: Object.fromEntries(answered),
    versions: parseVersions(`${result.parameters["adapter_versions"] ?? ""}`),
  };
}

/** As a door hands it over. */
function inferRequest(inputs: Inputs, parameters: Parameters = {}): InferRequest {
  const tensors = Object.entries(inputs).map(([name, values]) => [name, { name, ...values }] as const);
  return { id: "", parameters, inputs: new Map<string, WireTensor>(tensors), binaryDefault: true };
}

function numbersOf(tensor: WireTensor): ArrayLike<number | bigint> {
  if (tensor.datatype === "FP32" || tensor.datatype === "INT64") return tensor.data;
  throw new TypeError(`no policy answers ${tensor.datatype}`);
}

function parseVersions(text: string): Record<string, number> {
  const pairs = text === "" ? [] : text.split(",").map((pair) => pair.split("=") as [string, string]);
  return Object.fromEntries(pairs.map(([name, version]) => [name, Number(version)]));
}

/** PEFT's two files of an adapter. */
export function adapterFiles(adapter: Adapter): AdapterFiles {
  const encoded = encodeAdapter(adapter);
  return { config: Buffer.from(encoded[CONFIG_FILE]!).toString("utf8"), tensors: encoded[TENSORS_FILE]! };
}

/** Loads or replaces an adapter of seeded numbers. */
export function push(
  { adapters, policy }: Pick<TinyEngine, "adapters" | "policy">,
  name: string,
  seed: number,
  pin = false,
) {
  return adapters().load(name, { files: adapterFiles(policy.adapter(seed)), replace: true, pin });
}

/** What `agent` does with an observation and the adapter of a seed: `tanh` of the logits. */
export function expectedAction(
  policy: TinyPolicy,
  observation: ArrayLike<number>,
  agent: number,
  seed: number,
): number[] {
  return policy.logits(observation, agent, policy.adapter(seed)).map(Math.tanh);
}

/** A tiny adapter whose numbers are finite and whose answers are not. */
export function overflowing(policy: TinyPolicy): Adapter {
  const { layers, ...rest } = policy.adapter(0);
  const [layer] = layers;
  const huge = layer!.loraB.data.map(() => 1e38);
  return { ...rest, layers: [{ ...layer!, loraB: floatTensor(layer!.loraB.dims, huge) }] };
}

/** Settles after that many turns of the event loop. */
export async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** Asserts that a promise is rejected with the code and one line that matches. */
export async function assertRejects(
  promise: Promise<unknown>,
  code: ErrorCode,
  message: RegExp,
): Promise<void> {
  await assert.rejects(promise, (error: unknown) => {
    assert.ok(error instanceof LorasaError, `expected ${code}, got ${error}`);
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    assert.ok(!error.message.includes("\n"), "several lines");
    return true;
  });
}
