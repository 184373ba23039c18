// Asks a running server through openapi-fetch, typed by the description: URL.
import createClient from "openapi-fetch";
import type { paths } from "./schema.js";

declare const process: { argv: string[] };
const client = createClient<paths>({ baseUrl: process.argv[2] });
const text = "A gripping, beautifully shot film.";

const one = await client.POST("/predict", { body: { text } });
if (!one.data || !("label" in one.data) || one.data.label !== "positive") throw new Error(JSON.stringify(one));
const many = await client.POST("/predict", { body: { texts: [text, "Dull."], truncate: "windows" } });
if (!many.data || !("predictions" in many.data) || many.data.predictions.length !== 2) throw new Error(JSON.stringify(many));
const wrong = await client.POST("/predict", { body: { text, model: "nobody" } });
if (!wrong.error?.detail.includes("no model")) throw new Error(JSON.stringify(wrong));
const info = await client.GET("/info");
if (!info.data?.models[0]?.config) throw new Error(JSON.stringify(info));
const answer = await client.POST("/v2/models/{model}/infer", {
    params: { path: { model: info.data.model } },
    body: { inputs: [{ name: "text", shape: [1], datatype: "BYTES", data: [text] }] },
});
if (!answer.data || typeof answer.data === "string" || answer.data.outputs[0]?.data?.[0] !== "positive") throw new Error(JSON.stringify(answer));
console.log("the TypeScript client answers");
