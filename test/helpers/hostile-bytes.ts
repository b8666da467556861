/** Bytes that may be requests, several one behind the other, parts of them or none. Not how they are sent. */
import fc from "fast-check";
import { bytes } from "./hostile-headers.ts";

const STARTS: readonly string[] = [
  "GET /v2/health/live HTTP/1.1",
  "GET /v2/health/ready HTTP/1.1",
  "GET /v2/models/team HTTP/1.1",
  "GET / HTTP/1.0",
  "GET http://x/v2 HTTP/1.1",
  "POST /v2/models/team/infer HTTP/1.1",
  "POST /v2/repository/index HTTP/1.1",
  "POST /nothing HTTP/1.1",
  "OPTIONS * HTTP/1.1",
  "CONNECT x:443 HTTP/1.1",
  "GET /v2 HTTP/9.9",
  "GET /v2",
  "GET\t/v2\tHTTP/1.1",
  "PRI * HTTP/2.0\r\n\r\nSM",
  "\u0016\u0003\u0001\u0002\u0000\u0001\u0000\u0001\u00fc\u0003\u0003",
];

const LINES: readonly string[] = [
  "Host: y",
  "Content-Length: 2",
  "Content-Length: 3",
  "Content-Length: +2",
  "Content-Length: 0",
  "Transfer-Encoding: chunked",
  "Transfer-Encoding:\tchunked",
  "Transfer-Encoding: chunked\r\nContent-Length: 2",
  "Connection: close",
  "Connection: keep-alive, upgrade",
  "Expect: 100-continue",
  "Upgrade: h2c",
  "X: a\r\n b",
  "X: a\nY: b",
  ": x",
  "X",
];

const BODIES: readonly string[] = [
  "",
  "{}",
  "2\r\n{}\r\n0\r\n\r\n",
  "2;a=b\r\n{}\r\n0\r\nX: y\r\n\r\n",
  "1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
  "ffffffffffffffff\r\n",
  "-1\r\n",
  "zz\r\n",
  "2\n{}\n0\n\n",
  "0\r\n\r\nGET /v2 HTTP/1.1\r\nHost: x\r\n\r\n",
];

const request = fc
  .record({
    start: fc.oneof(
      { weight: 2, arbitrary: fc.constantFrom(...STARTS.slice(0, 4)) },
      { weight: 1, arbitrary: fc.constantFrom(...STARTS) },
    ),
    host: fc.oneof(
      { weight: 9, arbitrary: fc.constant("Host: x\r\n") },
      { weight: 1, arbitrary: fc.constant("") },
    ),
    lines: fc.array(fc.constantFrom(...LINES), { maxLength: 2 }),
    body: fc.constantFrom(...BODIES),
  })
  .map(
    ({ start, host, lines, body }) =>
      `${start}\r\n${host}${lines.map((line) => `${line}\r\n`).join("")}\r\n${body}`,
  );

const damage = fc.record({ at: fc.nat(300), removed: fc.nat(6), inserted: bytes(8) });

/** Whole requests mostly, then damaged in a place or two. */
export const rawBytes: fc.Arbitrary<Buffer> = fc
  .tuple(
    fc.array(request, { minLength: 1, maxLength: 4 }),
    fc.oneof(
      { weight: 1, arbitrary: fc.constant([]) },
      { weight: 1, arbitrary: fc.array(damage, { maxLength: 2 }) },
    ),
  )
  .map(([requests, damages]) => damages.reduce(damaged, Buffer.from(requests.join(""), "latin1")));

function damaged(
  whole: Buffer,
  { at, removed, inserted }: { at: number; removed: number; inserted: Buffer },
): Buffer {
  const start = at % (whole.length + 1);
  return Buffer.concat([whole.subarray(0, start), inserted, whole.subarray(start + removed)]);
}
