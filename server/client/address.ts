/** Where a server is and how its connections begin: address, token, authorities of its certificate. Not what is sent. */
import { Agent } from "node:http";
import { Agent as TlsAgent } from "node:https";
import { LorasaError } from "../../src/base/errors.ts";
import { readFile } from "../../src/base/files.ts";

/**
 * An address such as `http://127.0.0.1:8000` or `https://host/base`.
 * @param asked what named it, for messages.
 * @throws LORASA_FLAG; a name and password in it are never repeated.
 */
export function parseAddress(text: string, asked = "--server"): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const credentials = url !== undefined && (url.username !== "" || url.password !== "");
  const plain = url !== undefined && !credentials && url.search === "" && url.hash === "";
  if (plain && (url.protocol === "http:" || url.protocol === "https:")) return url;
  throw new LorasaError("LORASA_FLAG", {
    asked,
    expected: "an address such as http://127.0.0.1:8000",
    received: credentials ? "one with a name or password in it" : text,
    ...(credentials && { mend: "give a token in a file" }),
  });
}

/** The header of a token, if there is one. @throws LORASA_FLAG for what a header cannot hold. */
export function authorization(token: string | undefined): Readonly<Record<string, string>> | undefined {
  if (token === undefined) return undefined;
  if (/^[\x20-\x7e]+$/.test(token)) return { Authorization: `Bearer ${token}` };
  throw new LorasaError("LORASA_FLAG", {
    asked: "token",
    expected: "printable ASCII characters",
    received: "others",
  });
}

/** @throws LORASA_FLAG for authorities, which are never asked without TLS. */
export function plainAgent(caFile: string | undefined): Agent {
  if (caFile === undefined) return new Agent({ keepAlive: true });
  throw new LorasaError("LORASA_FLAG", {
    asked: `authorities ${caFile}`,
    expected: "an address that starts with https://",
    received: "one without TLS",
  });
}

/** @throws LORASA_FILE for a file of authorities that is not PEM. */
export function tlsAgent(caFile: string | undefined): TlsAgent {
  if (caFile === undefined) return new TlsAgent({ keepAlive: true });
  const ca = readFile(caFile, "certificates of authorities");
  if (ca.includes("-----BEGIN CERTIFICATE-----")) return new TlsAgent({ keepAlive: true, ca });
  throw new LorasaError("LORASA_FILE", {
    asked: `certificates of authorities ${caFile}`,
    expected: "PEM",
    received: "a file without a certificate",
  });
}
