/** The cases of the server's benchmark: which server is asked what, by how many at a time. Not how they are timed. */
import { AGENTS, MODEL, observations } from "./policy.ts";
import { binaryRequest, jsonRequest } from "./requests.ts";

export type ServerName = "lorasa" | "bare" | "express";

const TEAM = { obs: observations([1, AGENTS]) };
const AGENT = { obs: observations([1]) };
/** The rows of one environment, in an order that no graph has. */
const TAGGED = {
  obs: observations([AGENTS]),
  agent: {
    dtype: "int32",
    dims: [AGENTS],
    data: Int32Array.from({ length: AGENTS }, (_, row) => (row * 3) % AGENTS),
  },
} as const;

export const REQUESTS = {
  binary: binaryRequest(MODEL, TEAM),
  json: jsonRequest(MODEL, TEAM),
  agent: binaryRequest(`${MODEL}.agent_0`, AGENT),
  agentJson: jsonRequest(`${MODEL}.agent_0`, AGENT),
  tagged: binaryRequest(MODEL, TAGGED),
  environments64: binaryRequest(MODEL, { obs: observations([64, AGENTS]) }),
} as const;

export interface Case {
  readonly server: ServerName;
  readonly request: keyof typeof REQUESTS;
  readonly connections: number;
  /** The case whose rate it is compared with. */
  readonly twin?: string;
}

export const CASES = {
  binary: { server: "lorasa", request: "binary", connections: 16, twin: "bare binary" },
  "bare binary": { server: "bare", request: "binary", connections: 16 },
  "express binary": { server: "express", request: "binary", connections: 16, twin: "bare binary" },
  json: { server: "lorasa", request: "json", connections: 16, twin: "bare json" },
  "bare json": { server: "bare", request: "json", connections: 16 },
  "express json": { server: "express", request: "json", connections: 16, twin: "bare json" },
  "one agent, binary": { server: "lorasa", request: "agent", connections: 16 },
  "one agent, JSON": { server: "lorasa", request: "agentJson", connections: 16 },
  "tagged rows": { server: "lorasa", request: "tagged", connections: 16 },
  "binary, alone": { server: "lorasa", request: "binary", connections: 1, twin: "bare binary, alone" },
  "bare binary, alone": { server: "bare", request: "binary", connections: 1 },
  "json, alone": { server: "lorasa", request: "json", connections: 1, twin: "bare json, alone" },
  "bare json, alone": { server: "bare", request: "json", connections: 1 },
  "one agent, alone": { server: "lorasa", request: "agent", connections: 1 },
  "64 environments, alone": { server: "lorasa", request: "environments64", connections: 1 },
  "64 environments": { server: "lorasa", request: "environments64", connections: 16 },
} as const satisfies Record<string, Case>;

export type CaseName = keyof typeof CASES;
