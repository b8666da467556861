/** The twin as anyone would write it with Express: its own body parsers and `send`. Argument: the model's folder. */
import type { AddressInfo } from "node:net";
import express, { type Request, type Response } from "express";
import type { TwinAnswers } from "./bare-process.ts";
import { answerParent } from "./processes.ts";
import { TwinPolicy } from "./twin-policy.ts";
import { usage } from "./usage.ts";

const BODY_LIMIT = "64mb";

const policy = new TwinPolicy(process.argv[2]!);
let moreHeaders: Readonly<Record<string, string>> = {};

const answers: TwinAnswers = {
  start(): Promise<number> {
    const app = express();
    // Headers that the others do not send are not computed either.
    app.disable("x-powered-by");
    app.disable("etag");
    app.post(
      "/v2/models/:model/infer",
      express.json({ limit: BODY_LIMIT }),
      express.raw({ type: "application/octet-stream", limit: BODY_LIMIT }),
      answer,
    );
    return new Promise((resolve) => {
      const server = app.listen(0, "127.0.0.1", () => resolve((server.address() as AddressInfo).port));
    });
  },
  imitate({ parameters, headers }) {
    policy.parameters = parameters;
    moreHeaders = headers;
  },
  usage,
};

answerParent(answers);

function answer(request: Request, response: Response): void {
  response.set(moreHeaders);
  const jsonLength = request.get("inference-header-content-length");
  if (jsonLength === undefined) {
    response.json(policy.answerJson(request.body));
    return;
  }
  const { json, tensors } = policy.answerBinary(request.body, Number(jsonLength));
  response.set("Content-Type", "application/octet-stream");
  response.set("Inference-Header-Content-Length", `${json.length}`);
  response.send(Buffer.concat([json, ...tensors]));
}
