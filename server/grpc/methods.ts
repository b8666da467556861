/** The methods that answer one message with one: what each may be called by, reads and answers. Not streams. */
import { type handleUnaryCall, type ServerUnaryCall, status } from "@grpc/grpc-js";
import { LorasaError } from "../../src/base/errors.ts";
import type { ServedModel } from "../engine/service.ts";
import { CONTROL_LIMIT_BYTES } from "../limits.ts";
import { serverMetadata } from "../protocol/metadata.ts";
import { messageType } from "./definitions.ts";
import { admit, type Door, type Role } from "./door.ts";
import { parseVersion, readInferRequest } from "./infer-request.ts";
import { writeInferResponse } from "./infer-response.ts";
import { toStatus } from "./status.ts";
import { decodeMessage, encodeMessage, type Fields } from "./wire.ts";

/** A call whose request is the message's bytes: nothing of it is read before the call is admitted. */
type Call = ServerUnaryCall<Buffer, Buffer>;

/** Answers the bytes of a message with those of another. */
export type Answer = (door: Door, call: Call) => Buffer | Promise<Buffer>;

interface Method {
  readonly role: Role;
  readonly act: (door: Door, request: Fields) => object | Promise<object>;
}

/** Every method `X` has the messages `XRequest` and `XResponse`. */
const METHODS: Readonly<Record<string, Method>> = {
  ServerLive: { role: "open", act: () => ({ live: true }) },
  ServerReady: { role: "open", act: (door) => ({ ready: door.isReady() }) },
  ServerMetadata: { role: "infer", act: () => serverMetadata() },
  ModelReady: { role: "infer", act: modelReady },
  ModelMetadata: { role: "infer", act: (door, request) => door.metadata(findModel(door, request)) },
  ModelConfig: { role: "infer", act: (door, request) => ({ config: door.config(findModel(door, request)) }) },
  ModelStatistics: { role: "infer", act: modelStatistics },
  RepositoryIndex: { role: "manage", act: repositoryIndex },
  RepositoryModelLoad: { role: "manage", act: loadModel },
  RepositoryModelUnload: { role: "manage", act: unloadModel },
};

const SHARED_MEMORY = "this server reads no shared memory; send tensors in the message";

/** Methods of Triton that this server does not have, with what to say to a caller. */
const ABSENT: Readonly<Record<string, string>> = {
  SystemSharedMemoryStatus: SHARED_MEMORY,
  SystemSharedMemoryRegister: SHARED_MEMORY,
  SystemSharedMemoryUnregister: SHARED_MEMORY,
  CudaSharedMemoryStatus: SHARED_MEMORY,
  CudaSharedMemoryRegister: SHARED_MEMORY,
  CudaSharedMemoryUnregister: SHARED_MEMORY,
  TraceSetting: "this server writes no traces",
  LogSettings: "this server's log is set when it is started",
};

/** Handlers of every unary method of `inference.GRPCInferenceService`, by name. */
export function unaryHandlers(door: Door): Record<string, handleUnaryCall<Buffer, Buffer>> {
  const handlers: Record<string, handleUnaryCall<Buffer, Buffer>> = {
    ModelInfer: unaryHandler(door, "infer", infer),
  };
  for (const [name, { role, act }] of Object.entries(METHODS)) {
    const request = messageType(`inference.${name}Request`);
    const response = messageType(`inference.${name}Response`);
    handlers[name] = unaryHandler(door, role, async (_, call) => {
      refuseLength(call.request);
      const fields = await act(door, decodeMessage(request, call.request));
      return encodeMessage(response, response.fromObject(fields));
    });
  }
  for (const [name, text] of Object.entries(ABSENT)) {
    handlers[name] = (_, reply) => reply({ code: status.UNIMPLEMENTED, details: `${name}: ${text}` });
  }
  return handlers;
}

/** Admits a call, answers it, or fails it with the error's status. */
export function unaryHandler(door: Door, role: Role, answer: Answer): handleUnaryCall<Buffer, Buffer> {
  return async (call, reply) => {
    let bytes: Buffer;
    try {
      admit(door, role, call.metadata);
      bytes = await answer(door, call);
    } catch (error) {
      door.failed(error);
      reply(toStatus(error));
      return;
    }
    reply(null, bytes);
  };
}

async function infer({ service }: Door, call: Call): Promise<Buffer> {
  const { model, version, request } = readInferRequest(call.request);
  const endpoint = service.endpoint(model, version);
  const result = await service.infer(endpoint, request, { cancelled: () => call.cancelled });
  return writeInferResponse(request.id, result);
}

/** A model that is not there is not ready: an answer, not an error. */
function modelReady(door: Door, request: Fields): object {
  try {
    findModel(door, request);
  } catch (error) {
    if (error instanceof LorasaError && error.code === "LORASA_UNKNOWN_MODEL") return { ready: false };
    throw error;
  }
  return { ready: door.isReady() };
}

function modelStatistics({ service }: Door, request: Fields): object {
  const name = text(request, "name");
  const version = versionOf(request);
  return { model_stats: name === "" ? service.statistics() : service.statistics(name, version) };
}

function repositoryIndex({ service }: Door, request: Fields): object {
  refuseRepository(request);
  const models = service.index();
  return { models: request["ready"] === true ? models.filter(({ state }) => state === "READY") : models };
}

async function loadModel({ service }: Door, request: Fields): Promise<object> {
  refuseRepository(request);
  refuseParameters(request, []);
  await service.load(text(request, "model_name"));
  return {};
}

async function unloadModel({ service }: Door, request: Fields): Promise<object> {
  refuseRepository(request);
  // No model depends on another, so either value means the same.
  refuseParameters(request, ["unload_dependents"]);
  await service.unload(text(request, "model_name"));
  return {};
}

function findModel({ service }: Door, request: Fields): ServedModel {
  return service.endpoint(text(request, "name"), versionOf(request));
}

function versionOf(request: Fields): string | undefined {
  const version = text(request, "version");
  return version === "" ? undefined : parseVersion(version);
}

/** A text of a message; longer ones than any name are cut, which makes them names of nothing. */
function text(request: Fields, field: string): string {
  const value = request[field];
  return typeof value === "string" ? value.slice(0, 1024) : "";
}

function refuseRepository(request: Fields): void {
  const name = text(request, "repository_name");
  if (name !== "") throw refused("repository_name", "none, since there is one repository", name);
}

function refuseParameters(request: Fields, known: readonly string[]): void {
  // A map field is an object of its entries, empty when there are none.
  const names = Object.keys(request["parameters"] as object);
  const other = names.find((name) => !known.includes(name));
  if (other === undefined) return;
  const expected =
    known.length > 0 ? known.join(", ") : "none, since models come from the repository's folder";
  throw refused("parameters", expected, other);
}

/** These messages hold names and flags. */
function refuseLength({ length }: Buffer): void {
  if (length <= CONTROL_LIMIT_BYTES) return;
  throw new LorasaError("LORASA_TOO_LARGE", {
    asked: "request message",
    expected: `at most ${CONTROL_LIMIT_BYTES} bytes`,
    received: `${length}`,
  });
}

function refused(asked: string, expected: string, received: string): LorasaError {
  return new LorasaError("LORASA_REQUEST", {
    asked,
    expected,
    received: JSON.stringify(received.slice(0, 80)),
  });
}
