// Where the answers of the page of one file come from: a worker with the model and the kernels, in it.

const content = (name) => document.getElementById(`part-${name}`).textContent;

// The bytes of a part of the file.
async function unpacked(name) {
  const packed = Uint8Array.from(atob(content(name)), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

const { first: saved } = JSON.parse(content("about"));
const waiting = new Map();
let made = null, sent = 0, busy = Promise.resolve();

async function start() {
  const worker = new Worker(URL.createObjectURL(new Blob([content("worker")], { type: "text/javascript" })));
  worker.onmessage = ({ data: { number, ...reply } }) => { waiting.get(number)(reply); waiting.delete(number); };
  const [data, weights, ...codes] = await Promise.all(["data", "weights", "relaxed", "exact"].map(unpacked));
  worker.postMessage({ data: new TextDecoder().decode(data), weights, codes }, [weights, ...codes]);
  return worker;
}

// One request after another: what the page gives up before its turn is never computed.
export async function respond(path, { body, signal } = {}) {
  const before = busy;
  let done;
  busy = new Promise((resolve) => { done = resolve; });
  try {
    const worker = await (made ??= start());
    await before;
    signal?.throwIfAborted();
    const number = sent++, reply = new Promise((resolve) => { waiting.set(number, resolve); });
    worker.postMessage({ number, path, body: body ?? null });
    const { status, text } = await reply;
    return new Response(text, { status });
  } finally {
    done();
  }
}

export const SILENT = "The page's worker does not answer; reload the page.";

export const first = saved;

export const address = () => location.href.split("#")[0];
