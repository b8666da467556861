/**
 * gRPC's health protocol: whether the server (an empty name) or a model can be asked for inference. Not the readiness
 * methods of the inference protocol.
 */
import { type handleServerStreamingCall, type handleUnaryCall, status } from "@grpc/grpc-js";
import { messageType } from "./definitions.ts";
import { admit, type Door, type Role } from "./door.ts";
import { unaryHandler } from "./methods.ts";
import { toStatus } from "./status.ts";
import { decodeMessage, encodeMessage } from "./wire.ts";

const REQUEST = messageType("grpc.health.v1.HealthCheckRequest");
const RESPONSE = messageType("grpc.health.v1.HealthCheckResponse");

const SERVING = { SERVING: 1, NOT_SERVING: 2, SERVICE_UNKNOWN: 3 } as const;

type Serving = keyof typeof SERVING;

/** Names that mean the whole server. */
const SERVER_NAMES = new Set(["", "inference.GRPCInferenceService"]);

/** How often a watched name is looked at. */
const WATCH_INTERVAL_MS = 500;

/** Answers NOT_FOUND for a name that is neither the server nor a model. */
export function checkHandler(door: Door): handleUnaryCall<Buffer, Buffer> {
  return unaryHandler(door, "open", (_, call) => {
    const name = serviceName(call.request);
    // The names of models are for those who may infer.
    admit(door, roleOf(name), call.metadata);
    if (!SERVER_NAMES.has(name)) door.service.endpoint(name);
    return encodeMessage(RESPONSE, { status: SERVING[servingOf(door, name)] });
  });
}

/** Sends a name's status, then each change of it, until the client or the server ends. */
export function watchHandler(door: Door): handleServerStreamingCall<Buffer, Buffer> {
  return (stream) => {
    let sent: Serving | undefined;
    const send = (name: string): void => {
      const now = servingOf(door, name);
      if (now !== sent) stream.write(encodeMessage(RESPONSE, { status: SERVING[now] }));
      sent = now;
    };
    try {
      const name = serviceName(stream.request);
      admit(door, roleOf(name), stream.metadata);
      send(name);
      const timer = setInterval(send, WATCH_INTERVAL_MS, name).unref();
      const close = (): void => {
        send(name);
        stream.end();
      };
      door.lasting.add(close);
      stream.on("cancelled", () => {
        clearInterval(timer);
        door.lasting.delete(close);
      });
    } catch (error) {
      door.failed(error);
      stream.emit("error", toStatus(error));
    }
  };
}

function serviceName(bytes: Buffer): string {
  return String(decodeMessage(REQUEST, bytes)["service"]).slice(0, 1024);
}

function roleOf(name: string): Role {
  return SERVER_NAMES.has(name) ? "open" : "infer";
}

function servingOf(door: Door, name: string): Serving {
  try {
    if (!SERVER_NAMES.has(name)) door.service.endpoint(name);
  } catch (error) {
    return toStatus(error).code === status.NOT_FOUND ? "SERVICE_UNKNOWN" : "NOT_SERVING";
  }
  return door.isReady() ? "SERVING" : "NOT_SERVING";
}
