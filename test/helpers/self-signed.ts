/** A certificate for 127.0.0.1 that is its own authority, made anew for a test. Not for anything else. */
import { generateKeyPairSync, sign } from "node:crypto";

export interface SelfSigned {
  readonly cert: string;
  readonly key: string;
}

const DAY_MS = 86_400_000;
/** Object identifiers, in DER. */
const ECDSA_WITH_SHA256 = der(0x30, hex("06082a8648ce3d040302"));
const COMMON_NAME = hex("0603550403");
const ALTERNATIVE_NAME = hex("0603551d11");
const BASIC_CONSTRAINTS = hex("0603551d13");

/** @param address that the certificate is for, IPv4. */
export function selfSigned(address = "127.0.0.1", validMs = DAY_MS): SelfSigned {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const name = der(0x30, der(0x31, der(0x30, COMMON_NAME, der(0x0c, Buffer.from("test")))));
  const now = Date.now();
  const from = Math.min(now, now + validMs) - DAY_MS;
  const ip = der(0x87, Buffer.from(address.split(".").map(Number)));
  const extensions = [
    der(0x30, ALTERNATIVE_NAME, der(0x04, der(0x30, ip))),
    der(0x30, BASIC_CONSTRAINTS, der(0x01, hex("ff")), der(0x04, der(0x30, der(0x01, hex("ff"))))),
  ];
  const body = der(
    0x30,
    der(0xa0, der(0x02, hex("02"))),
    der(0x02, hex("01")),
    ECDSA_WITH_SHA256,
    name,
    der(0x30, time(from), time(now + validMs)),
    name,
    publicKey.export({ type: "spki", format: "der" }),
    der(0xa3, der(0x30, ...extensions)),
  );
  const signature = der(0x03, hex("00"), sign("sha256", body, privateKey));
  const cert = der(0x30, body, ECDSA_WITH_SHA256, signature).toString("base64");
  const lines = cert.match(/.{1,64}/g)!.join("\n");
  return {
    cert: `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
  };
}

/** Tag, length, contents. */
function der(tag: number, ...parts: readonly Buffer[]): Buffer {
  const contents = Buffer.concat(parts);
  const { length } = contents;
  const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255];
  return Buffer.concat([Buffer.from([tag, ...size]), contents]);
}

/** UTCTime. */
function time(ms: number): Buffer {
  return der(
    0x17,
    Buffer.from(
      `${new Date(ms)
        .toISOString()
        .replace(/[-:T]|\.\d+/g, "")
        .slice(2)}`,
    ),
  );
}

function hex(text: string): Buffer {
  return Buffer.from(text, "hex");
}
