/** Who may call what: bearer tokens, kept as hashes and compared in constant time. Not where tokens come from. */
import { hash, timingSafeEqual } from "node:crypto";
import { LorasaError } from "../../src/base/errors.ts";
import type { Role } from "./routes.ts";

/** Each the secret itself, or `sha256:` and the 64 hex digits of its SHA-256. */
export interface GateTokens {
  /** Opens what has the role `infer`; without it those routes are open. */
  readonly inferToken?: string;
  /** Opens everything; without it what has the role `manage` is switched off. */
  readonly manageToken?: string;
}

/**
 * Throws unless the bearer of an Authorization header has the role.
 * @throws LORASA_FORBIDDEN for what is switched off, LORASA_UNAUTHORIZED without the right token.
 */
export type Authorize = (role: Role, authorization: string | undefined) => void;

const HASHED = /^sha256:([0-9a-f]{64})$/i;

/** @throws LORASA_FLAG for an empty token, or a `sha256:` that is not 64 hex digits. */
export function createGate({ inferToken, manageToken }: GateTokens): Authorize {
  const infer = inferToken === undefined ? undefined : digestOf(inferToken);
  const manage = manageToken === undefined ? undefined : digestOf(manageToken);
  return (role, authorization) => {
    if (role === "open" || (role === "infer" && infer === undefined)) return;
    if (role === "manage" && manage === undefined) throw switchedOff();
    const given = bearer(authorization);
    const digest = sha256(given ?? "");
    // Both are always compared, and hashes have one length: the time tells neither which matched nor how long it is.
    const manages = equal(digest, manage);
    const infers = equal(digest, infer);
    if (given !== undefined && (manages || (role === "infer" && infers))) return;
    throw refused(role, given === undefined ? "none" : infers ? "the token for inference" : "another");
  };
}

function bearer(authorization: string | undefined): string | undefined {
  return /^bearer +(.+)$/i.exec(authorization ?? "")?.[1];
}

function digestOf(token: string): Buffer {
  const hex = HASHED.exec(token)?.[1];
  if (hex !== undefined) return Buffer.from(hex, "hex");
  if (token !== "" && !/^sha256:/i.test(token)) return sha256(token);
  throw new LorasaError("LORASA_FLAG", {
    asked: "token",
    expected: "some characters, or sha256: and 64 hex digits",
    received: token === "" ? "an empty one" : "sha256: and something else",
    mend: "make one with `lorasa token`",
  });
}

function sha256(text: string): Buffer {
  return hash("sha256", text, "buffer");
}

function equal(digest: Buffer, expected: Buffer | undefined): boolean {
  return expected !== undefined && timingSafeEqual(digest, expected);
}

function switchedOff(): LorasaError {
  return new LorasaError("LORASA_FORBIDDEN", {
    asked: "management",
    expected: "a server that was started with a token",
    received: "one without",
    mend: "start it with --token-file",
  });
}

function refused(role: "infer" | "manage", received: string): LorasaError {
  return new LorasaError("LORASA_UNAUTHORIZED", {
    asked: role === "manage" ? "management" : "inference",
    expected: `Authorization: Bearer and the server's ${role === "manage" ? "management " : ""}token`,
    received,
  });
}
