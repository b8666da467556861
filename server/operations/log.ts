/**
 * The server's log: JSON lines on standard error, or lines for a person when that is a terminal. Only what the
 * events name is written: no tensors, no bodies, no tokens.
 */
import { type DestinationStream, pino, stdTimeFunctions } from "pino";
import { LorasaError } from "../../src/base/errors.ts";
import { humanLine } from "./log-line.ts";
import { LogThrottle } from "./log-throttle.ts";

/** From the most to the least that is written. */
export const LOG_LEVELS = ["debug", "info", "warn", "error", "silent"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

interface AdapterFields {
  readonly model: string;
  readonly adapter: string;
  readonly version: number;
  /** In hex; its first twelve digits are written. */
  readonly sha256: string;
}

interface ModelFields {
  readonly model: string;
  readonly ms: number;
  /** Of its graphs and adapters in memory. */
  readonly bytes: number;
}

interface FailureFields {
  readonly code: string;
  /** Verb and path pattern, such as `POST /v2/models/:model/infer`. */
  readonly route: string;
  readonly status: number;
}

interface DeviceFields {
  readonly model: string;
  readonly device: string;
  readonly reason: string;
}

/** What each event tells. */
interface LogEvents {
  server_started: { readonly url: string; readonly version: string; readonly device: string };
  server_ready: { readonly models: number; readonly ms: number };
  server_stopping: { readonly inflight: number };
  server_stopped: { readonly ms: number };
  model_loaded: ModelFields;
  model_unloaded: ModelFields;
  device_failed: DeviceFields;
  model_moved_to_cpu: DeviceFields;
  /** Nodes without a kernel on the device. */
  nodes_on_cpu: { readonly model: string; readonly graph: string; readonly nodes: string };
  adapter_loaded: AdapterFields;
  adapter_replaced: AdapterFields;
  adapter_unloaded: AdapterFields;
  adapter_rolled_back: AdapterFields;
  adapter_evicted: AdapterFields;
}

type Written = keyof LogEvents | "request_failed" | "fault" | "left_out";

const LEVEL_OF: Readonly<Record<Written, Exclude<LogLevel, "silent">>> = {
  server_started: "info",
  server_ready: "info",
  server_stopping: "info",
  server_stopped: "info",
  model_loaded: "info",
  model_unloaded: "info",
  device_failed: "error",
  model_moved_to_cpu: "warn",
  nodes_on_cpu: "warn",
  adapter_loaded: "info",
  adapter_replaced: "info",
  adapter_unloaded: "info",
  adapter_rolled_back: "info",
  // Where adapters do not fit into memory there may be one a request.
  adapter_evicted: "debug",
  request_failed: "warn",
  fault: "error",
  left_out: "warn",
};

export interface Log {
  write<E extends keyof LogEvents>(event: E, fields: LogEvents[E]): void;
  /** A request answered with an error; ten of a code in ten seconds are written, the rest are counted. */
  requestFailed(failure: FailureFields): void;
  /** A fault of the server's own, with its stack; limited in the same way. */
  fault(error: unknown): void;
  /** Tells what was left out; later lines are written all the same. */
  close(): void;
}

export interface LogOptions {
  /** Default: `LORASA_LOG`, else info. */
  readonly level?: string;
  /** Default: standard error. */
  readonly destination?: DestinationStream;
  /** Lines for a person. Default: whether standard error is a terminal and no other destination is given. */
  readonly human?: boolean;
}

/**
 * @throws LORASA_FLAG for a level that there is not.
 */
export function createLog(options: LogOptions = {}): Log {
  const { destination = process.stderr } = options;
  const human = options.human ?? (options.destination === undefined && process.stderr.isTTY === true);
  const settings = {
    level: parseLevel(options.level ?? process.env["LORASA_LOG"] ?? "info"),
    messageKey: "event",
    // Process number and host name say nothing that a collector of logs does not know better.
    base: null,
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  const logger = pino(settings, human ? humanStream(destination) : destination);
  const write = (event: Written, fields: object): void => logger[LEVEL_OF[event]](fields, event);
  const throttle = new LogThrottle((code, lines) => write("left_out", { code, lines }));
  return {
    write: (event, fields) => write(event, "sha256" in fields ? withPrefix(fields) : fields),
    requestFailed: ({ code, route, status }) => {
      if (throttle.admits(code)) write("request_failed", { code, route, status });
    },
    fault: (error) => {
      const told = describeFault(error);
      if (throttle.admits(told.code)) write("fault", told);
    },
    close: () => throttle.endWindow(),
  };
}

function withPrefix(fields: AdapterFields): AdapterFields {
  return { ...fields, sha256: fields.sha256.slice(0, 12) };
}

function humanStream(destination: DestinationStream): DestinationStream {
  const colour = destination === process.stderr && process.env["NO_COLOR"] === undefined;
  return { write: (line) => destination.write(humanLine(line, colour)) };
}

/** The stack begins with the message; a cause's stack follows. */
function describeFault(error: unknown): { readonly code: string; readonly stack: string } {
  if (!(error instanceof Error)) return { code: "internal", stack: String(error) };
  const own = error.stack ?? error.message;
  const cause = error.cause === undefined ? "" : `\ncaused by ${describeFault(error.cause).stack}`;
  return { code: error instanceof LorasaError ? error.code : "internal", stack: `${own}${cause}` };
}

function parseLevel(text: string): LogLevel {
  const level = LOG_LEVELS.find((known) => known === text);
  if (level) return level;
  throw new LorasaError("LORASA_FLAG", {
    asked: "log level",
    expected: LOG_LEVELS.join(", "),
    received: text.slice(0, 40),
    mend: "give --log-level or set LORASA_LOG",
  });
}
