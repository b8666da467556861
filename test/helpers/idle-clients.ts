/**
 * A process of its own that opens connections and says nothing on them: `node idle-clients.ts PORT COUNT`. Prints how
 * many are open once none is under way, and ends when its input does.
 */
import { connect, type Socket } from "node:net";

const [port = 0, count = 0] = process.argv.slice(2).map(Number);
/** Under way at once: fewer than a listening queue holds. */
const WIDTH = 200;
const sockets: Socket[] = [];
let failed = 0;

function next(): void {
  if (sockets.length + failed >= count) return;
  const socket = connect(port, "127.0.0.1");
  sockets.push(socket);
  socket.once("connect", () => settle());
  socket.on("error", () => socket.destroy());
  socket.once("close", () => {
    failed += 1;
  });
}

let settled = 0;

function settle(): void {
  settled += 1;
  if (settled < count) next();
  else process.stdout.write(`${settled - failed}\n`);
}

for (let at = 0; at < Math.min(WIDTH, count); at++) next();
process.stdin.resume();
process.stdin.on("end", () => process.exit());
