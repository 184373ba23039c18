// Asks a running server through the client of OpenAPI Generator's typescript-fetch: URL.
import { Configuration, Label, OpenInferenceProtocolApi, OperationApi, ResponseError, SentimentApi } from "./fetch";

declare const process: { argv: string[]; exit(code: number): never };

async function main() {
    const configuration = new Configuration({ basePath: process.argv[2] });
    const sentiment = new SentimentApi(configuration);
    const text = "A gripping, beautifully shot film.";
    const one = await sentiment.predict({ predictRequest: { text } });
    if (!("label" in one) || one.label !== Label.Positive) throw new Error(JSON.stringify(one));
    const many = await sentiment.predict({ predictRequest: { texts: [text, "..."], onError: "report" } });
    if (!("predictions" in many) || many.failed !== 1 || many.predictions.length !== 2) throw new Error(JSON.stringify(many));
    try {
        await sentiment.predict({ predictRequest: { text, model: "nobody" } });
        throw new Error("an unknown model was served");
    } catch (error) {
        if (!(error instanceof ResponseError) || error.response.status !== 404) throw error;
    }
    const info = await new OperationApi(configuration).info();
    if (!(Number(info.models[0]?.config["vocab_size"]) > 0)) throw new Error(JSON.stringify(info));
    const inputs = [{ name: "text", shape: [1], datatype: "BYTES", data: [text] }];
    const answer = await new OpenInferenceProtocolApi(configuration).v2Infer({ model: info.model, inferBody: { inputs } });
    if (answer.outputs[0]?.data?.[0] !== "positive") throw new Error(JSON.stringify(answer));
    console.log("the typescript-fetch client answers");
}

main().catch((error) => {
    console.error(error);
    process.exit(1);
});
