/**
 * A server in a process of its own, to be killed: `node store-server.ts REPOSITORY STORE TOKEN`. Prints its address,
 * and ends when its input does.
 */
import { startServer } from "../../server/app.ts";

const [repository = "", adapterStore = "", token = ""] = process.argv.slice(2);
const { url } = await startServer({ repository, adapterStore, token, port: 0 });
process.stdout.write(`${url}\n`);
process.stdin.resume();
process.stdin.on("end", () => process.exit());
