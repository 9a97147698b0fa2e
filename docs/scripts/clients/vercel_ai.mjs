// Ask with the AI SDK of Vercel.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { Output, generateText, jsonSchema, streamText, tool } from "ai";
import { key, length, model, prompt, sampler_, schema, seed, temperature, tried, url } from "./asked.mjs";

const corelm = createOpenAICompatible({
  name: "corelm", baseURL: url, apiKey: key, supportsStructuredOutputs: true,
});
const fields = { model: corelm(model), prompt, seed, maxOutputTokens: length, maxRetries: 0 };
const asked = { ...fields, temperature };
const rate = tool({ description: "Rate a film", inputSchema: jsonSchema(schema) });

await tried({
  async completion() {
    return (await generateText({ ...asked, model: corelm.completionModel(model) })).text;
  },
  async chat() {
    return (await generateText(asked)).text;
  },
  async stream() {
    let text = "";
    for await (const part of streamText(asked).textStream) text += part;
    return text;
  },
  async tools() {
    const answer = await generateText({ ...asked, tools: { rate }, toolChoice: "required" });
    return answer.toolCalls[0].input;
  },
  async response_format() {
    const output = Output.object({ schema: jsonSchema(schema) });
    return (await generateText({ ...asked, output })).output;
  },
  async sampler() {
    return (await generateText({ ...fields, providerOptions: { corelm: sampler_ } })).text;
  },
});
