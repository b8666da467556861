/** Opens and closes the gRPC door of a service. Not how its calls are answered, not who may call. */
import {
  logVerbosity,
  Server,
  ServerCredentials,
  type ServiceDefinition,
  setLogVerbosity,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import type { Door, GrpcOptions } from "./door.ts";
import { checkHandler, watchHandler } from "./health.ts";
import { listen } from "./listener.ts";
import { unaryHandlers } from "./methods.ts";
import { streamHandler } from "./stream.ts";

export interface RunningGrpc {
  readonly port: number;
  /**
   * Is not ready from now on, ends streams after the requests that they have begun, answers the other calls that have
   * begun, then closes; what is left after `drainTimeoutMs` is cut off. A second call awaits the first.
   */
  close(): Promise<void>;
}

/** Most calls at once of one connection; a client's later ones wait at the client. */
const CALL_LIMIT = 1024;

/** A peer that vanished is found by a ping after this long, so that its streams do not last for ever. */
const KEEPALIVE_MS = 60_000;

/** @throws LORASA_PORT when the address cannot be listened on. */
export async function startGrpc(options: GrpcOptions): Promise<RunningGrpc> {
  // Its log repeats, on standard error, what the errors of this door say.
  setLogVerbosity(logVerbosity.NONE);
  let open = true;
  const isReady = (): boolean => open && options.service.isReady();
  const door: Door = { ...options, isReady, lasting: new Set() };
  const server = createServer(door);
  const { injectConnection } = server.createConnectionInjector(credentialsOf(options));
  const listener = await listen(options, injectConnection);
  const close = async (): Promise<void> => {
    open = false;
    for (const end of door.lasting) end();
    listener.stop();
    await drain(server, options.drainTimeoutMs);
    listener.cut();
  };
  let closing: Promise<void> | undefined;
  return {
    port: listener.port,
    close: () => {
      closing ??= close();
      return closing;
    },
  };
}

function createServer(door: Door): Server {
  const server = new Server({
    "grpc.max_receive_message_length": door.messageLimitBytes,
    "grpc.max_send_message_length": door.messageLimitBytes,
    "grpc.max_concurrent_streams": CALL_LIMIT,
    "grpc.keepalive_time_ms": KEEPALIVE_MS,
    // Counters of the library's own, a cost of every call, that nothing here shows.
    "grpc.enable_channelz": 0,
  });
  addService(server, "inference.GRPCInferenceService", {
    ...unaryHandlers(door),
    ModelStreamInfer: streamHandler(door),
  });
  addService(server, "grpc.health.v1.Health", { Check: checkHandler(door), Watch: watchHandler(door) });
  return server;
}

const STREAMS: Readonly<Record<string, { readonly requests: boolean; readonly responses: boolean }>> = {
  ModelStreamInfer: { requests: true, responses: true },
  Watch: { requests: false, responses: true },
};

/** Messages cross as their bytes, so that a handler decides when, and whether, to read them. */
function addService(server: Server, service: string, handlers: UntypedServiceImplementation): void {
  const asIs = (bytes: Buffer): Buffer => bytes;
  const methods = Object.keys(handlers).map((name) => {
    const { requests = false, responses = false } = STREAMS[name] ?? {};
    const method = {
      path: `/${service}/${name}`,
      requestStream: requests,
      responseStream: responses,
      requestSerialize: asIs,
      requestDeserialize: asIs,
      responseSerialize: asIs,
      responseDeserialize: asIs,
    };
    return [name, method] as const;
  });
  const definition: ServiceDefinition = Object.fromEntries(methods);
  server.addService(definition, handlers);
}

function credentialsOf({ tls }: GrpcOptions): ServerCredentials {
  if (tls === undefined) return ServerCredentials.createInsecure();
  return ServerCredentials.createSsl(null, [{ cert_chain: tls.cert, private_key: tls.key }]);
}

/** Resolves when the calls that have begun are answered, or after the time. */
function drain(server: Server, timeoutMs: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, timeoutMs);
    server.tryShutdown(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}
