/** Starts and stops a server: opens the engine and its doors, drains and closes them. Not how requests are answered. */
import { join } from "node:path";
import { VERSION } from "../src/base/version.ts";
import { candidates } from "../src/runtime/choose.ts";
import type { Device, Runtime } from "../src/runtime/session.ts";
import { LocalPolicyService } from "./engine/policy-service.ts";
import { Connections } from "./http/connections.ts";
import { createFailures, createHandler, type Failures, type ServerContext } from "./http/handler.ts";
import { createListener, type Listener, listen, listenerUrl } from "./http/listen.ts";
import { sendError } from "./http/reply.ts";
import { type Authorize, createGate } from "./http/token.ts";
import { BODY_LIMIT_BYTES, CONNECTION_LIMIT, JSON_LIMIT_BYTES } from "./limits.ts";
import { describeModels } from "./model-facts.ts";
import { logEngine } from "./operations/engine-log.ts";
import { createLog, type Log } from "./operations/log.ts";
import { createMetrics, type Metrics } from "./operations/metrics.ts";
import { type CheckedOptions, checkOptions, type ServerOptions } from "./options.ts";

export type { ServerOptions };

export interface ModelDevice {
  readonly model: string;
  readonly device: Device;
  /** One line with the times that decided. */
  readonly why?: string;
}

export interface RunningServer {
  /** With the base path, such as `http://127.0.0.1:8000`. */
  readonly url: string;
  /** Such as `grpc://127.0.0.1:8001`, when a gRPC port was asked for. */
  readonly grpcUrl?: string;
  /** Each model's device, and why it was chosen where there was a choice. */
  readonly devices: readonly ModelDevice[];
  /**
   * Is not ready any more, refuses inference, answers what has begun, then closes and frees the models. A second call
   * awaits the first.
   */
  close(): Promise<void>;
}

/**
 * Loads every model, then listens; nothing is left behind when it fails.
 * @throws LORASA_PORT when an address cannot be listened on, LORASA_FORBIDDEN for an open address without a token,
 *   LORASA_FLAG for a base path, token or log level that cannot be one, LORASA_FILE for a certificate and key that
 *   are no pair, and what loading a repository throws.
 */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const server = new Server(checkOptions(options));
  try {
    return await server.start();
  } catch (error) {
    await server.close();
    throw error;
  }
}

const DRAIN_TIMEOUT_MS = 30_000;
const REQUEST_TIMEOUT_MS = 60_000;

/** Owns the engine and the doors. */
class Server {
  readonly #options: CheckedOptions;
  readonly #authorize: Authorize;
  readonly #log: Log;
  readonly #metrics: Metrics = createMetrics();
  readonly #failures: Failures;
  readonly #startedAt = performance.now();
  /** Each drains its requests and closes. */
  readonly #doors: (() => Promise<void>)[] = [];
  #connections: Connections | undefined;
  #service: LocalPolicyService | undefined;
  #ready = false;
  #closing: Promise<void> | undefined;

  constructor(options: CheckedOptions) {
    const { token, inferToken, onFault } = options;
    this.#options = options;
    this.#authorize = createGate({
      ...(token !== undefined && { manageToken: token }),
      ...(inferToken !== undefined && { inferToken }),
    });
    const log = createLog({ level: options.logLevel ?? process.env["LORASA_LOG"] ?? "error" });
    this.#log = onFault ? { ...log, fault: onFault } : log;
    this.#failures = createFailures(this.#metrics, this.#log);
  }

  async start(): Promise<RunningServer> {
    // Before the models, which take longer to load than a wrong certificate to tell.
    const listener = createListener(this.#requestTimeoutMs, this.#options.tls);
    const service = await this.#openEngine();
    const context = this.#context(service);
    const url = await this.#openHttp(listener, context);
    const grpcUrl = await this.#openGrpc(context);
    this.#ready = true;
    const ms = Math.round(performance.now() - this.#startedAt);
    this.#log.write("server_started", { url, version: VERSION, device: this.#options.device ?? "cpu" });
    this.#log.write("server_ready", { models: service.repository.models.length, ms });
    const devices = modelDevices(service);
    return { url, ...(grpcUrl !== undefined && { grpcUrl }), devices, close: () => this.close() };
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** Probes see that it is not ready while what has begun is answered; the engine goes last. */
  async #close(): Promise<void> {
    const started = performance.now();
    if (this.#ready) this.#log.write("server_stopping", { inflight: this.#connections?.requests ?? 0 });
    const wasReady = this.#ready;
    this.#ready = false;
    await Promise.all(this.#doors.map((close) => close()));
    await this.#service?.close();
    if (wasReady) this.#log.write("server_stopped", { ms: Math.round(performance.now() - started) });
    this.#log.close();
  }

  async #openEngine(): Promise<LocalPolicyService> {
    const { repository, device = "cpu", fallback, threads = 1, ...rest } = this.#options;
    const events = logEngine(this.#metrics.events, this.#log);
    const [runtime, ...otherRuntimes] = candidates(device) as [Runtime, ...Runtime[]];
    this.#service = await LocalPolicyService.open(repository, {
      ...rest,
      runtime,
      otherRuntimes,
      threads,
      events,
      fallback: fallback === "cpu",
    });
    this.#metrics.watch(this.#service);
    return this.#service;
  }

  #context(service: LocalPolicyService): ServerContext {
    const { repository, adapterRoot, bodyLimitBytes, jsonLimitBytes } = this.#options;
    return {
      service,
      metrics: this.#metrics,
      bodyLimitBytes: bodyLimitBytes ?? BODY_LIMIT_BYTES,
      jsonLimitBytes: jsonLimitBytes ?? JSON_LIMIT_BYTES,
      ...describeModels(service),
      adapterRoot: (model) => adapterRoot ?? join(repository, model, "adapters"),
      isReady: () => this.#ready && service.isReady(),
      failed: (response, error, route) => {
        this.#failures(error, route ? `${route.verb} ${route.path}` : "");
        sendError(response, error);
      },
    };
  }

  async #openHttp(server: Listener, context: ServerContext): Promise<string> {
    const { host, basePath, port = 8000, maxConnections } = this.#options;
    const handler = createHandler(context, { authorize: this.#authorize, basePath });
    const connections = new Connections(server, handler, {
      maxConnections: maxConnections ?? CONNECTION_LIMIT,
      requestTimeoutMs: this.#requestTimeoutMs,
      failed: context.failed,
    });
    this.#metrics.watchConnections(() => connections.open);
    await listen(server, host, port);
    this.#connections = connections;
    this.#doors.push(() => connections.drain(this.#drainTimeoutMs));
    server.on("error", (error) => this.#log.fault(error));
    return listenerUrl(server) + basePath;
  }

  async #openGrpc(context: ServerContext): Promise<string | undefined> {
    const { host, grpcPort, tls, maxConnections } = this.#options;
    if (grpcPort === undefined) return undefined;
    const { startGrpc } = await import("./grpc/server.ts");
    const { service, metadata, config, bodyLimitBytes } = context;
    const grpc = await startGrpc({
      service,
      metadata,
      config,
      host,
      port: grpcPort,
      messageLimitBytes: bodyLimitBytes,
      maxConnections: maxConnections ?? CONNECTION_LIMIT,
      authorize: this.#authorize,
      ...(tls && { tls }),
      failed: (error) => this.#failures(error, "gRPC"),
      drainTimeoutMs: this.#drainTimeoutMs,
    });
    this.#doors.push(grpc.close);
    const address = host.includes(":") ? `[${host}]` : host;
    return `${tls ? "grpcs" : "grpc"}://${address}:${grpc.port}`;
  }

  get #requestTimeoutMs(): number {
    return this.#options.requestTimeoutMs ?? REQUEST_TIMEOUT_MS;
  }

  get #drainTimeoutMs(): number {
    return this.#options.drainTimeoutMs ?? DRAIN_TIMEOUT_MS;
  }
}

function modelDevices({ repository }: LocalPolicyService): ModelDevice[] {
  return repository.models.map(({ model: { manifest, placed, why } }) => ({
    model: manifest.name,
    device: placed.device,
    ...(why !== undefined && { why }),
  }));
}
