// Requests to the server.

import { notice } from "./notices.js";
import { respond, SILENT } from "./server.js";

const SILENCE = 3000; // ms without an answer until the page says so
const PATIENCE = 20_000; // ms until a request counts as lost; the server gives up a chain earlier
const AGAIN = 2000; // ms until the next try, where the browser doesn't notice that the network is back

class UnreachableError extends Error {}

// Call `read(response)` for what the server answers.
async function ask(path, read, options = {}) {
  let response, result;
  try {
    response = await respond(path, options);
    result = await (response.ok ? read(response) : response.json());
  } catch (error) {
    options.signal?.throwIfAborted();
    throw new UnreachableError(response?.ok === false ? `The server answers with the error ${response.status}.` : SILENT, { cause: error });
  }
  options.signal?.throwIfAborted();
  if (!response.ok) throw new Error(result.error?.message ?? `The server answers with the error ${response.status}.`);
  return result;
}

const sent = (body, signal) => ({ method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal });

const json = (response) => response.json();

export const get = (path) => ask(path, json);

export const post = (path, body, signal) => ask(path, json, sent(body, signal));

export const file = (path, body) => ask(path, (response) => response.blob(), sent(body));

// Do `work(signal)`, which may be done again, until the server answers.
export async function insist(source, signal, work) {
  for (;;) {
    const attempt = new AbortController(), either = AbortSignal.any([signal, attempt.signal]), again = () => attempt.abort();
    const timers = [setTimeout(() => notice(source, "The server has not answered for 3 seconds; the page is waiting for it."), SILENCE), setTimeout(again, PATIENCE)];
    addEventListener("online", again);
    try {
      return await work(either);
    } catch (error) {
      if (signal.aborted) notice(source, null);
      signal.throwIfAborted();
      if (!(attempt.signal.aborted || error instanceof UnreachableError)) throw error;
      if (!attempt.signal.aborted) notice(source, error.message);
      timers.push(setTimeout(again, AGAIN));
      await new Promise((done) => { if (either.aborted) done(); else either.addEventListener("abort", done); });
    } finally {
      timers.forEach(clearTimeout);
      removeEventListener("online", again);
    }
  }
}
