// Requests to the server. A request that a newer one overtakes is dropped, not queued.

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer; is corelm play still running?");
  }
  const answer = await response.json();
  if (!response.ok) throw Object.assign(new Error(answer.error.message), { param: answer.error.param });
  return answer;
}

export const get = (path) => ask(path, {});

export const post = (path, body, signal) =>
  ask(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });

// Return a function that asks, and gives up what it asked before.
export function latest(path) {
  let controller = new AbortController();
  return (body) => {
    controller.abort();
    controller = new AbortController();
    return post(path, body, controller.signal);
  };
}
