/** What every hostile request is, and headers that are wrong on purpose. Not paths, not bodies. */
import fc from "fast-check";

export interface HostileRequest {
  readonly verb: string;
  readonly path: string;
  readonly headers: readonly (readonly [string, string])[];
  readonly body: Buffer;
  /** Whether the headers may say something else than what follows: nothing can come after it then. */
  readonly lies: boolean;
  readonly token: boolean;
}

const HOSTILE_HEADERS: readonly (readonly [string, string])[] = [
  ["Accept-Encoding", "gzip;q=2, deflate;q=, *;q=x"],
  ["Accept-Encoding", "gzip,".repeat(500)],
  ["Accept", "text/html"],
  ["Connection", "close"],
  ["Connection", "Upgrade"],
  ["Upgrade", "websocket"],
  ["Upgrade", "h2c"],
  ["HTTP2-Settings", "AAMAAABkAAQAAP__"],
  ["Content-Type", "multipart/form-data; boundary="],
  ["Content-Type", "x".repeat(2000)],
  ["Content-Encoding", "br"],
  ["Content-Encoding", "gzip, gzip"],
  ["Content-Encoding", "identity"],
  ["__proto__", "x"],
  ["constructor", "x"],
  ["Authorization", "Bearer"],
  ["Authorization", `Bearer ${"x".repeat(4000)}`],
  ["Authorization", "Basic Og=="],
  ["Cookie", "a=b; ".repeat(300)],
  ["X-Forwarded-For", "127.0.0.1"],
  ["X-HTTP-Method-Override", "DELETE"],
  ["X-Original-URL", "/v2/repository/index"],
  ["Range", "bytes=0-0,5-"],
  ["If-None-Match", "*"],
  ["Expect", "100-continue"],
  ["Forwarded", 'for="[::1]"'],
  ["Host", ""],
  ["Origin", "http://elsewhere.invalid"],
];

/** What may be wrong with the framing; each may make HTTP's parser refuse it. */
const LYING_HEADERS: readonly (readonly [string, string])[] = [
  ["Content-Length", "0"],
  ["Content-Length", "-1"],
  ["Content-Length", "5, 5"],
  ["Content-Length", "18446744073709551616"],
  ["Content-Length", "999999999"],
  ["Content-Length", "1e3"],
  ["Content-Length", " "],
  ["Transfer-Encoding", "chunked"],
  ["Transfer-Encoding", "chunked, identity"],
  ["Transfer-Encoding", "gzip, chunked"],
  ["Transfer-Encoding", "xchunked"],
  ["Expect", "200-nothing"],
  ["X\u0000", "x"],
  ["X", "a\u0000b"],
  ["X", "a\nHost: y"],
  [" X", "x"],
  ["X ", "x"],
  ["X-Long", "x".repeat(17_000)],
];

/** A few that are odd and leave the framing as it is. */
export const oddHeaders = fc.oneof(
  { weight: 4, arbitrary: fc.constant([]) },
  { weight: 2, arbitrary: fc.array(fc.constantFrom(...HOSTILE_HEADERS), { maxLength: 3 }) },
);
/** Mostly none. */
export const lyingHeader = fc.oneof(
  { weight: 8, arbitrary: fc.constant(undefined) },
  { weight: 1, arbitrary: fc.constantFrom(...LYING_HEADERS) },
);

export function bytes(maxLength: number): fc.Arbitrary<Buffer> {
  return fc.uint8Array({ maxLength }).map((raw) => Buffer.from(raw));
}
