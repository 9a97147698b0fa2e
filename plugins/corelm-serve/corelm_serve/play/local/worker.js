// The worker of the page of one file: it reads the model once, then answers requests in turn.

import { Answers } from "./answers.js";
import { Kernels, runningCode } from "./engine.js";
import { Expressions } from "./expression.js";
import { Network } from "./network.js";
import { SAMPLERS } from "./samplers.js";
import { readVocabulary } from "./vocabulary.js";

async function answersOf({ data: text, weights, codes }) {
  if (!globalThis.Float16Array) throw new Error("this page needs Chrome 135, Firefox 129, Safari 18.2 or a later version");
  const data = JSON.parse(text), { start } = data;
  start.samplers = start.samplers.filter(({ name }) => name in SAMPLERS); // the others need Python
  const vocabulary = readVocabulary(data.vocabulary, data.style);
  const kernels = new Kernels(await runningCode(codes), vocabulary.size);
  const network = new Network(kernels, data.network, weights), expressions = new Expressions(start.samplers);
  return new Answers(data, { kernels, network, vocabulary, expressions });
}

let answers;

onmessage = async ({ data: { number, path, body, ...start } }) => {
  if (path === undefined) {
    answers = answersOf(start);
    return;
  }
  try {
    const result = (await answers).answer(path, JSON.parse(body));
    postMessage({ number, status: 200, text: JSON.stringify(result) });
  } catch ({ message }) {
    postMessage({ number, status: 400, text: JSON.stringify({ error: { message } }) });
  }
};
