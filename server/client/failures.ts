/** What went wrong with a server, each in one LORASA_SERVER line. Not when a request is sent again (`connection.ts`). */
import { LorasaError } from "../../src/base/errors.ts";

/** What a person is told of a failed connection, and what they can do. */
type Cause = readonly [received: string, mend?: string];

const CLOSED: Cause = ["a connection that was closed before the end of the answer"];
const NO_ADDRESS: Cause = ["a name that has no address"];
const NO_ROUTE: Cause = ["no route to it"];
const UNTRUSTED: Cause = [
  "a certificate that is not trusted here",
  "name the certificate of its authority with --ca-file",
];

const CAUSES: Readonly<Record<string, Cause>> = {
  ECONNREFUSED: ["nothing listening there", "start one with `lorasa serve`"],
  ECONNRESET: CLOSED,
  EPIPE: CLOSED,
  ENOTFOUND: NO_ADDRESS,
  EAI_AGAIN: NO_ADDRESS,
  EHOSTUNREACH: NO_ROUTE,
  ENETUNREACH: NO_ROUTE,
  ETIMEDOUT: ["no answer"],
  DEPTH_ZERO_SELF_SIGNED_CERT: UNTRUSTED,
  SELF_SIGNED_CERT_IN_CHAIN: UNTRUSTED,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: UNTRUSTED,
  UNABLE_TO_GET_ISSUER_CERT: UNTRUSTED,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: UNTRUSTED,
  CERT_HAS_EXPIRED: ["a certificate that has expired"],
  CERT_NOT_YET_VALID: ["a certificate that is not valid yet"],
  ERR_TLS_CERT_ALTNAME_INVALID: ["a certificate of another name"],
};

/** Groups of codes by how they start; which of the last two it is depends on Node's version. */
const FAMILIES: readonly (readonly [start: string, Cause])[] = [
  ["HPE_", ["an answer that is not HTTP", "an address of TLS starts with https://"]],
  ["ERR_SSL_", ["an answer that is not TLS", "an address without TLS starts with http://"]],
  ["EPROTO", ["an answer that is not TLS", "an address without TLS starts with http://"]],
];

const STATUS_MENDS: Readonly<Record<number, string>> = {
  401: "give the file with the server's token, such as --token-file token.txt",
};

/** Longest text of a server that a message repeats, in characters. */
const TEXT_LIMIT = 1000;

/** The status of a reply that was not 200, behind a LORASA_SERVER error. */
class ReplyStatus extends Error {
  readonly status: number;

  constructor(status: number) {
    super(`status ${status}`);
    this.status = status;
  }
}

/** HTTP status that a server answered when an error is one of its replies; undefined when none came, or for another error. */
export function replyStatus(error: unknown): number | undefined {
  return error instanceof LorasaError && error.cause instanceof ReplyStatus ? error.cause.status : undefined;
}

export function serverError(asked: string, received: string, mend?: string, cause?: unknown): LorasaError {
  return new LorasaError("LORASA_SERVER", { asked, received, ...(mend !== undefined && { mend }), cause });
}

/** No reply came, or not to its end. */
export function unreachable(asked: string, cause: NodeJS.ErrnoException): LorasaError {
  const code = cause.code ?? "";
  const family = FAMILIES.find(([start]) => code.startsWith(start));
  const [received, mend] = CAUSES[code] ?? family?.[1] ?? [oneLine(cause.message) || code || "a failure"];
  return serverError(asked, received, mend, cause);
}

/** A reply that was not 200. */
export function refused(asked: string, status: number, body: Buffer): LorasaError {
  return serverError(asked, `${status}, ${errorText(body)}`, STATUS_MENDS[status], new ReplyStatus(status));
}

function errorText(body: Buffer): string {
  try {
    // Whatever it is, it becomes text.
    const { error } = JSON.parse(body.toString("utf8")) as { error?: unknown };
    return error === undefined ? "an answer without an error" : oneLine(String(error));
  } catch {
    return "an answer that is not JSON";
  }
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, " ").trim().slice(0, TEXT_LIMIT);
}
