/** What a server can be told when it starts, and what of it is refused. Not what is done with it. */
import { LorasaError } from "../src/base/errors.ts";
import type { DeviceChoice } from "../src/runtime/choose.ts";
import type { TlsFiles } from "./http/listen.ts";

export interface ServerOptions {
  /** Folder of exported models. */
  readonly repository: string;
  /** Address to listen on. Default 127.0.0.1. */
  readonly host?: string;
  /** Default 8000; 0 takes a free one. */
  readonly port?: number;
  /** Also answers gRPC there; 0 takes a free one. */
  readonly grpcPort?: number;
  /** Comes before every path, such as `/lorasa`; nothing is answered outside it. */
  readonly basePath?: string;
  /** Certificate chain and private key in PEM: connections are encrypted with TLS 1.2 or later. */
  readonly tls?: TlsFiles;
  /** Default `cpu`; with `auto` each model is on the one that is quickest for it. */
  readonly device?: DeviceChoice;
  /** Where models go on when the device cannot hold them or is lost. Default: nowhere. */
  readonly fallback?: "cpu";
  /** Threads inside an operator. Default 1. */
  readonly threads?: number;
  /** Secret for management, or `sha256:` and its hash; without one it is switched off. It opens the rest too. */
  readonly token?: string;
  /** Secret for inference and what the server tells of itself, or its hash; without one they are open. */
  readonly inferToken?: string;
  /** Allows an address other than this machine's own without a token. */
  readonly allowOpen?: boolean;
  /** Of a request's body, as it arrives and inflated. Default 64 MiB. */
  readonly bodyLimitBytes?: number;
  /** Of the JSON in a request. Default 16 MiB. */
  readonly jsonLimitBytes?: number;
  /** Default 16,384. */
  readonly maxConnections?: number;
  /** For a whole request to arrive. Default 60,000. */
  readonly requestTimeoutMs?: number;
  /** How long `close` waits for requests that have begun. Default 30,000. */
  readonly drainTimeoutMs?: number;
  /** The only folder that an adapter's `path` may lead into. Default: `adapters` of the model's own folder. */
  readonly adapterRoot?: string;
  /** Folder in which pushed adapters outlive the server. */
  readonly adapterStore?: string;
  /** Most adapters of a model in memory at once. */
  readonly residentAdapters?: number;
  /** Most adapters that a model may have. */
  readonly maxAdapters?: number;
  /** Most requests that wait; more are refused. */
  readonly queueLimit?: number;
  /** Microseconds that a request may wait for others to join it. */
  readonly queueDelayUs?: number;
  /** Most rows that run together. */
  readonly maxBatchRows?: number;
  /** Expected run time from which a batch goes to a thread of its own, in milliseconds. Default 5. */
  readonly longRunMs?: number;
  /** Most sequences whose state is held. */
  readonly sequenceLimit?: number;
  /** A sequence is forgotten after this long. */
  readonly sequenceIdleMs?: number;
  /** What is logged: debug, info, warn, error or silent. Default: `LORASA_LOG`, else error. */
  readonly logLevel?: string;
  /** Told of faults that a reply only hints at. Default: the log. */
  readonly onFault?: (error: unknown) => void;
}

/** What every part of a server works with: where it listens, checked. */
export interface CheckedOptions extends ServerOptions {
  readonly host: string;
  /** Without a slash at its end; empty for none. */
  readonly basePath: string;
}

/**
 * @throws LORASA_FORBIDDEN for an address that other machines reach without a token, LORASA_FLAG for a base path that
 *   cannot be one.
 */
export function checkOptions(options: ServerOptions): CheckedOptions {
  const host = options.host ?? "127.0.0.1";
  refuseOpen(host, options);
  return { ...options, host, basePath: parseBasePath(options.basePath ?? "") };
}

function refuseOpen(host: string, { token, inferToken, allowOpen }: ServerOptions): void {
  const own = host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host);
  if (own || token !== undefined || inferToken !== undefined || allowOpen) return;
  throw new LorasaError("LORASA_FORBIDDEN", {
    asked: `listening on ${host}`,
    expected: "a token, since other machines can reach it",
    received: "none",
    mend: "give --token-file, listen on 127.0.0.1, or allow it explicitly",
  });
}

function parseBasePath(text: string): string {
  const path = text.replace(/\/$/, "");
  const dotted = path.split("/").some((part) => part === "." || part === "..");
  if (path === "" || (/^(\/[A-Za-z0-9._~-]+)+$/.test(path) && !dotted)) return path;
  throw new LorasaError("LORASA_FLAG", {
    asked: `base path ${JSON.stringify(text.slice(0, 80))}`,
    expected: "a path such as /lorasa, of letters, digits and . _ ~ -",
    received: "something else",
  });
}
