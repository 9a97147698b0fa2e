// Requests to the server. A request that a newer one overtakes is dropped, not queued.

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer; is corelm play still running?");
  }
  if (!response.ok) throw new Error((await response.json()).error.message);
  return response;
}

const sent = (path, body, signal) =>
  ask(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });

export const get = async (path) => (await ask(path, {})).json();

export const post = async (path, body, signal) => (await sent(path, body, signal)).json();

export const file = async (path, body) => (await sent(path, body)).blob();

// Return a function that asks, and gives up what it asked before.
export function latest(path) {
  let controller = new AbortController();
  return (body) => {
    controller.abort();
    controller = new AbortController();
    return post(path, body, controller.signal);
  };
}
