/** What programs import from lorasa; everything else is internal and may change. */
export { type ExportOptions, type ExportResult, exportTeam } from "../exporters/export-team.ts";
export type { Team, TeamAgent } from "../models/team.ts";
export { type RunningServer, type ServerOptions, startServer } from "../server/app.ts";
export type { InferOptions } from "../server/client/infer-frame.ts";
export {
  type AdapterStatus,
  type ClientOptions,
  type InferAnswer,
  ServerClient,
} from "../server/client.ts";
export { ERROR_CODES, type ErrorCode, LorasaError } from "./base/errors.ts";
export type { FloatTensor, HostTensor } from "./base/tensor.ts";
export type { Adapter, LoraLayer } from "./checkpoint/adapter.ts";
export { readAdapter, writeAdapter } from "./checkpoint/peft.ts";
export type { ModelManifest } from "./checkpoint/repository.ts";
export { type CompareOptions, type CompareResult, compareTeam } from "./cli/compare/compare-team.ts";
export type {
  ActionSpace,
  AgentSpec,
  Env,
  EnvBuffers,
  EnvOptions,
  EnvSpec,
  StepResult,
} from "./envs/contract.ts";
export { envSpec, listTasks, makeEnv } from "./envs/registry.ts";
export { createVectorEnv, type VectorEnvOptions } from "./envs/vector.ts";
export type { EnvGroup, VectorEnv } from "./envs/vector-contract.ts";
export { createRuntime } from "./runtime/onnxruntime.ts";
export type { Device, ResidentTensor, Runtime, Session } from "./runtime/session.ts";
export { parseTrainConfig, type TrainConfig } from "./training/config.ts";
export type { Episode } from "./training/episodes.ts";
export { type EvaluationOptions, evaluate } from "./training/evaluation.ts";
export { PRESETS, preset } from "./training/presets.ts";
export { type TrainResult, type TrainRunOptions, train } from "./training/run.ts";
export { loadRun } from "./training/saved-run.ts";
