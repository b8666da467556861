/** An error as a gRPC status: its code by the table, its text by the rule of the HTTP door. Nothing is sent here. */
import { status } from "@grpc/grpc-js";
import { type ErrorCode, LorasaError } from "../../src/base/errors.ts";
import { describeError } from "../http/reply.ts";

export interface GrpcStatus {
  readonly code: status;
  readonly details: string;
}

/** The text travels in a header: longer ones are dropped by clients. */
const DETAILS_LIMIT_CHARACTERS = 2000;

const BY_CODE: Partial<Record<ErrorCode, status>> = {
  LORASA_EXISTS: status.ALREADY_EXISTS,
  LORASA_CANCELLED: status.CANCELLED,
};

const BY_HTTP_STATUS: Readonly<Record<number, status>> = {
  400: status.INVALID_ARGUMENT,
  401: status.UNAUTHENTICATED,
  403: status.PERMISSION_DENIED,
  404: status.NOT_FOUND,
  409: status.FAILED_PRECONDITION,
  413: status.RESOURCE_EXHAUSTED,
  503: status.UNAVAILABLE,
};

/** What is not the client's doing becomes INTERNAL, told by its code alone. */
export function toStatus(error: unknown): GrpcStatus {
  const { status: http, text } = describeError(error);
  const byCode = error instanceof LorasaError ? BY_CODE[error.code] : undefined;
  return { code: byCode ?? BY_HTTP_STATUS[http] ?? status.INTERNAL, details: wellFormed(text) };
}

/** What a client gave may be echoed cut inside a character, and half a character cannot be sent in a header. */
function wellFormed(text: string): string {
  return Buffer.from(text.slice(0, DETAILS_LIMIT_CHARACTERS)).toString();
}
