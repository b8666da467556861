/** The management token: compared in constant time, kept only as a hash. Not where tokens come from. */
import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { LorasaError } from "../../src/base/errors.ts";

/** Throws unless the request may manage. */
export type Gate = (request: IncomingMessage) => void;

/**
 * @param token shared secret; without one, management is switched off.
 * @returns a gate that throws LORASA_FORBIDDEN when switched off, LORASA_UNAUTHORIZED without the right token.
 */
export function createGate(token: string | undefined): Gate {
  if (token === undefined) {
    return () => {
      throw new LorasaError("LORASA_FORBIDDEN", {
        asked: "management",
        expected: "a server that was started with a token",
        received: "one without",
        mend: "start it with --token-file",
      });
    };
  }
  const expected = hash(token);
  return (request) => {
    const given = /^bearer +(.*)$/i.exec(request.headers.authorization ?? "")?.[1];
    // Hashes have one length, so the time does not tell how long the token is.
    if (timingSafeEqual(hash(given ?? ""), expected) && given !== undefined) return;
    throw new LorasaError("LORASA_UNAUTHORIZED", {
      asked: "management",
      expected: "Authorization: Bearer and the server's token",
      received: given === undefined ? "none" : "another",
    });
  };
}

function hash(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
