/** The one error class of lorasa and the table of its codes; not where errors are printed or sent. */

/**
 * Every code, with the HTTP status a server answers and the exit code a command ends with
 * (2: the user can mend it, 1: a failure).
 */
export const ERROR_CODES = {
  LORASA_FLAG: {
    status: 400,
    exit: 2,
    about: "A command-line flag or argument is unknown, missing or out of range.",
  },
  LORASA_CONFIG: {
    status: 400,
    exit: 2,
    about: "A configuration file or preset has a wrong or unknown field.",
  },
  LORASA_UNKNOWN_TASK: { status: 404, exit: 2, about: "No environment of that name exists." },
  LORASA_UNKNOWN_AGENT: { status: 404, exit: 2, about: "The team has no agent of that name." },
  LORASA_UNKNOWN_MODEL: {
    status: 404,
    exit: 2,
    about: "The repository or server has no model of that name or version.",
  },
  LORASA_UNKNOWN_ADAPTER: { status: 404, exit: 2, about: "The model has no adapter of that name." },
  LORASA_SHAPE: { status: 400, exit: 2, about: "A tensor has a shape other than the one asked for." },
  LORASA_DTYPE: { status: 400, exit: 2, about: "A tensor has an element type other than the one asked for." },
  LORASA_NAME: { status: 400, exit: 2, about: "A tensor or field is missing, unknown or named twice." },
  LORASA_NOT_FINITE: { status: 400, exit: 2, about: "A tensor holds NaN or an infinity." },
  LORASA_RANGE: { status: 400, exit: 2, about: "A number is outside its range." },
  LORASA_FILE: {
    status: 400,
    exit: 2,
    about: "A file is missing, unreadable, truncated or not what its name says.",
  },
  LORASA_CHECKSUM: {
    status: 400,
    exit: 2,
    about: "A file's contents differ from the checksum recorded for it.",
  },
  LORASA_ADAPTER: {
    status: 400,
    exit: 2,
    about: "An adapter does not fit: another backbone, rank, layer set or unsupported variant.",
  },
  LORASA_EXISTS: { status: 409, exit: 2, about: "Something of that name exists and would be overwritten." },
  LORASA_BUSY: { status: 409, exit: 2, about: "An adapter is pinned or in use." },
  LORASA_REQUEST: { status: 400, exit: 2, about: "An HTTP request is malformed or not supported." },
  LORASA_TOO_LARGE: { status: 413, exit: 2, about: "A request, file or tensor exceeds a limit." },
  LORASA_UNAUTHORIZED: {
    status: 401,
    exit: 2,
    about: "A route needs a token that was not given or does not match.",
  },
  LORASA_FORBIDDEN: { status: 403, exit: 2, about: "The route is switched off on this server." },
  LORASA_UNAVAILABLE: { status: 503, exit: 1, about: "The server is starting, stopping or full." },
  LORASA_CANCELLED: {
    status: 400,
    exit: 2,
    about: "The client went away or gave up before its request was run.",
  },
  LORASA_PORT: { status: 500, exit: 2, about: "The address to listen on is in use or not permitted." },
  LORASA_DEVICE: {
    status: 500,
    exit: 2,
    about: "A device or backend is unknown or not usable on this machine.",
  },
  LORASA_DISK: {
    status: 500,
    exit: 1,
    about: "Writing failed: disk full, no permission or a vanished folder.",
  },
  LORASA_GRAPH: {
    status: 500,
    exit: 1,
    about: "A graph is not well formed or uses an op that is not supported.",
  },
  LORASA_GRADIENT: {
    status: 500,
    exit: 1,
    about: "A gradient was asked through an op or input that has none.",
  },
  LORASA_DISPOSED: {
    status: 500,
    exit: 1,
    about: "A session, worker or server was used after it was closed.",
  },
  LORASA_VERIFY: {
    status: 500,
    exit: 1,
    about: "An exported graph disagrees with the network that it was made from.",
  },
  LORASA_MEASURE: { status: 500, exit: 1, about: "A process that measures for `compare` failed." },
  LORASA_SIMULATOR: { status: 500, exit: 1, about: "A simulator failed, diverged or its worker ended." },
  LORASA_SERVER: {
    status: 502,
    exit: 1,
    about: "A server that a command talks to cannot be reached or answered with an error.",
  },
} as const satisfies Record<string, { status: number; exit: 1 | 2; about: string }>;

export type ErrorCode = keyof typeof ERROR_CODES;

/** The four parts of a message: what was asked, expected, received, and how to mend it. */
export interface ErrorParts {
  readonly asked: string;
  readonly expected?: string;
  readonly received?: string;
  readonly mend?: string;
  readonly cause?: unknown;
}

/** An error a caller can match on by {@link LorasaError.code}; its message is one line for a person. */
export class LorasaError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, parts: ErrorParts) {
    super(oneLine(parts), parts.cause === undefined ? undefined : { cause: parts.cause });
    this.name = "LorasaError";
    this.code = code;
  }

  /** HTTP status for this code. */
  get status(): number {
    return ERROR_CODES[this.code].status;
  }

  /** Process exit code: 2 for a user's mistake, 1 for a failure. */
  get exitCode(): number {
    return ERROR_CODES[this.code].exit;
  }
}

/** Joins the parts as `asked: expected X, received Y; mend`. */
function oneLine(parts: ErrorParts): string {
  const facts = [
    parts.expected === undefined ? "" : `expected ${parts.expected}`,
    parts.received === undefined ? "" : `received ${parts.received}`,
  ].filter((fact) => fact !== "");
  const head = facts.length === 0 ? parts.asked : `${parts.asked}: ${facts.join(", ")}`;
  return parts.mend === undefined ? head : `${head}; ${parts.mend}`;
}

/** Names close to `wanted`, as a hint: `did you mean X?`, or the whole list when it is short. */
export function suggestion(wanted: string, known: readonly string[]): string {
  const near = known.filter((name) => distance(wanted.toLowerCase(), name.toLowerCase()) <= 2);
  if (near.length > 0) return `did you mean ${near.slice(0, 3).join(" or ")}?`;
  return `known: ${known.slice(0, 20).join(", ")}${known.length > 20 ? ", …" : ""}`;
}

/** Levenshtein distance, O(|a|·|b|). */
function distance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitute = previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      current.push(Math.min(substitute, previous[j]! + 1, current[j - 1]! + 1));
    }
    previous = current;
  }
  return previous[b.length]!;
}
