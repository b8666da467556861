/** `lorasa token`: makes a secret for a server. Not where it is checked (`server/http/token.ts`). */
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { Command } from "commander";
import { LorasaError } from "../base/errors.ts";
import { diskError, sha256 } from "../base/files.ts";
import { answer, type CommandAnswer, withJson } from "./command.ts";

interface TokenFlags {
  readonly out?: string;
  readonly json?: boolean;
}

interface TokenAnswer extends CommandAnswer {
  readonly json: { readonly token: string; readonly line: string; readonly file?: string };
}

/** Random bytes of a token: as many as guessing would need years beyond counting for. */
const TOKEN_BYTES = 32;

export function tokenCommand(): Command {
  return withJson(new Command("token"))
    .description("Make a random token for a server, and the line that the server keeps instead of it.")
    .option("--out <file>", "write the line for `lorasa serve --token-file` there; it must not exist")
    .addHelpText(
      "after",
      `
The token is printed once and kept nowhere: give it to those who may call. The server needs only its SHA-256.

Example:
  lorasa token --out token.txt
  lorasa serve repository --token-file token.txt`,
    )
    .action((flags: TokenFlags) => answer(flags, async () => makeToken(flags.out)));
}

/**
 * A new token and its line, written to a file that must not exist.
 * @throws LORASA_EXISTS, LORASA_DISK.
 */
export function makeToken(file: string | undefined): TokenAnswer {
  const token = randomBytes(TOKEN_BYTES).toString("hex");
  const line = `sha256:${sha256(token)}`;
  if (file === undefined)
    return { json: { token, line }, text: `token: ${token}\nfor the server's file: ${line}` };
  writeNew(file, `${line}\n`);
  return { json: { token, line, file }, text: `token: ${token}\nits SHA-256 is in ${file}` };
}

/** For its owner alone, and never over another: whoever holds that one's token would be locked out. */
function writeNew(file: string, text: string): void {
  try {
    writeFileSync(file, text, { flag: "wx", mode: 0o600 });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "EEXIST") throw diskError(`writing ${file}`, cause);
    throw new LorasaError("LORASA_EXISTS", {
      asked: `--out ${file}`,
      expected: "a file that does not exist",
      received: "one that does",
      mend: "choose another name, or remove it",
      cause,
    });
  }
}
