// Ask with OpenAI's client for JavaScript.
import OpenAI from "openai";
import { key, length, model, prompt, sampler_, schema, seed, temperature, tried, url } from "./asked.mjs";

const client = new OpenAI({ baseURL: url, apiKey: key, maxRetries: 0 });
const fields = { model, seed, max_tokens: length };
const messages = [{ role: "user", content: prompt }];
const create = (more = { temperature }) =>
  client.chat.completions.create({ messages, ...fields, ...more });
const tool = { type: "function", function: { name: "rate", parameters: schema } };
const form = { type: "json_schema", json_schema: { name: "film", schema, strict: true } };

await tried({
  async completion() {
    return (await client.completions.create({ prompt, ...fields, temperature })).choices[0].text;
  },
  async chat() {
    return (await create()).choices[0].message.content;
  },
  async stream() {
    let text = "";
    for await (const event of await create({ temperature, stream: true })) {
      text += event.choices[0].delta.content ?? "";
    }
    return text;
  },
  async tools() {
    const answer = await create({ temperature, tools: [tool], tool_choice: "required" });
    return JSON.parse(answer.choices[0].message.tool_calls[0].function.arguments);
  },
  async response_format() {
    const answer = await create({ temperature, response_format: form });
    return JSON.parse(answer.choices[0].message.content);
  },
  async sampler() {
    return (await create(sampler_)).choices[0].message.content;
  },
});
