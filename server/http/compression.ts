/**
 * Compressed bodies, both ways: gzip and deflate (the zlib format). Always on zlib's own threads: a large body
 * never holds the event loop.
 */
import { deflate, gunzip, gzip, inflate } from "node:zlib";
import { LorasaError } from "../../src/base/errors.ts";

export type Coding = "gzip" | "deflate";

/** A client that takes either gets the first. */
const CODINGS: readonly Coding[] = ["gzip", "deflate"];

const INFLATE = { gzip: gunzip, deflate: inflate } as const satisfies Record<Coding, unknown>;
const DEFLATE = { gzip, deflate } as const satisfies Record<Coding, unknown>;

/** The fastest level: a reply is waited for, and tensors hardly become smaller at the others. */
const LEVEL = 1;

/**
 * The coding of a request's body by its Content-Encoding; undefined for none.
 * @throws LORASA_REQUEST for another one, or several on top of each other.
 */
export function requestCoding(encoding: string | undefined): Coding | undefined {
  const name = encoding?.trim().toLowerCase() ?? "identity";
  if (name === "identity" || name === "") return undefined;
  const coding = CODINGS.find((known) => known === name);
  if (coding) return coding;
  throw new LorasaError("LORASA_REQUEST", {
    asked: "Content-Encoding",
    expected: "gzip, deflate or identity",
    received: name.includes(",") ? "several" : name.slice(0, 40),
  });
}

/**
 * A request's body as it was before it was compressed.
 * @param limitBytes of what comes out; memory grows with what comes out, never with what the data says of itself.
 * @throws LORASA_TOO_LARGE beyond the limit, LORASA_REQUEST for data that is damaged or cut off.
 */
export async function inflateBody(body: Buffer, coding: Coding, limitBytes: number): Promise<Buffer> {
  await turn();
  try {
    return await inflateNow(body, coding, limitBytes);
  } finally {
    nextTurn();
  }
}

/**
 * Most bodies that are inflated at once, about as many as zlib has threads for: the others wait as they came, a
 * thousandth of what they may become.
 */
const INFLATED_AT_ONCE = 4;

let inflating = 0;
const waiting: (() => void)[] = [];

function turn(): Promise<void> | undefined {
  if (inflating === INFLATED_AT_ONCE) return new Promise((resolve) => waiting.push(resolve));
  inflating += 1;
  return undefined;
}

/** Hands the place on, or gives it up. */
function nextTurn(): void {
  const next = waiting.shift();
  if (next) next();
  else inflating -= 1;
}

function inflateNow(body: Buffer, coding: Coding, limitBytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    INFLATE[coding](body, { maxOutputLength: limitBytes }, (error, inflated) => {
      if (error === null) resolve(inflated);
      else reject(inflateError(coding, limitBytes, error));
    });
  });
}

/** The smaller of a body and its compressed form; `coding` says which one it is. */
export function deflateBody(
  body: Buffer,
  coding: Coding,
  done: (sent: { readonly body: Buffer; readonly coding: Coding | undefined }) => void,
): void {
  DEFLATE[coding](body, { level: LEVEL }, (error, deflated) => {
    const smaller = error === null && deflated.length < body.length;
    done(smaller ? { body: deflated, coding } : { body, coding: undefined });
  });
}

/**
 * The coding of a reply by the request's Accept-Encoding: of the highest q-value, `gzip` before `deflate`; undefined
 * where neither is wanted, or the plain body is wanted more.
 */
export function replyCoding(accepted: string | undefined): Coding | undefined {
  if (accepted === undefined) return undefined;
  const weights = new Map(accepted.split(",", WEIGHT_LIMIT).map(parseWeight));
  const any = weights.get("*") ?? 0;
  const weight = (coding: Coding): number => weights.get(coding) ?? any;
  const best = weight("deflate") > weight("gzip") ? "deflate" : "gzip";
  const plain = weights.get("identity") ?? 0;
  return weight(best) > 0 && weight(best) >= plain ? best : undefined;
}

/** Most entries of Accept-Encoding that are looked at. */
const WEIGHT_LIMIT = 32;

/** `gzip;q=0.5` as a name and its q-value: 1 without one, 0 for one that is no number from 0 to 1. */
function parseWeight(entry: string): readonly [name: string, weight: number] {
  const [name = "", ...parameters] = entry.split(";").map((part) => part.trim().toLowerCase());
  const q = parameters.find((parameter) => parameter.startsWith("q="))?.slice(2);
  if (q === undefined) return [name, 1];
  return [name, /^(0(\.\d{0,3})?|1(\.0{0,3})?)$/.test(q) ? Number(q) : 0];
}

function inflateError(coding: Coding, limitBytes: number, cause: NodeJS.ErrnoException): LorasaError {
  if (cause.code === "ERR_BUFFER_TOO_LARGE") {
    return new LorasaError("LORASA_TOO_LARGE", {
      asked: `request body, ${coding}`,
      expected: `at most ${limitBytes} bytes when inflated`,
      received: "more",
      mend: "send fewer rows, or start the server with a larger body limit",
    });
  }
  return new LorasaError("LORASA_REQUEST", {
    asked: `Content-Encoding ${coding}`,
    expected: `a whole body of ${coding} data`,
    received: cause.code === "Z_BUF_ERROR" ? "one that is cut off" : "something else",
    cause,
  });
}
