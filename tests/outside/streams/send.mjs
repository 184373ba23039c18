// Streams the lines of a file to a server again and again, until its answer ends: URL FILE. Prints the answers.
import { readFileSync } from "node:fs";

const [url, path] = process.argv.slice(2);
const lines = readFileSync(path);
const body = new ReadableStream({ pull: (controller) => controller.enqueue(lines) });
const answer = await fetch(url + "/predict", {
    method: "POST",
    duplex: "half",
    headers: { "content-type": "application/x-ndjson" },
    body,
});
if (answer.status !== 200) throw new Error(String(answer.status));
for await (const piece of answer.body) process.stdout.write(piece);
process.exit(0);
