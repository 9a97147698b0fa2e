// The worker of the page of one file: it reads the model once, then answers requests in turn.

import { Answers } from "./answers.js";
import { kernelsOf } from "./engine.js";
import { Expressions } from "./expression.js";
import { Network } from "./network.js";
import { readVocabulary } from "./vocabulary.js";

async function answersOf({ data: text, weights, codes }) {
  const data = JSON.parse(text), kernels = await kernelsOf(codes);
  return new Answers(data, {
    kernels, network: new Network(kernels, data.network, weights),
    vocabulary: readVocabulary(data.vocabulary, data.style), expressions: new Expressions(data.start.samplers),
  });
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
