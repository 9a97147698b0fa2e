// What went wrong, above the page: each source has one sentence, until it succeeds or is dismissed.

import { byId, h } from "./dom.js";

const notices = new Map();

export function notice(source, text) {
  if (text) notices.set(source, text);
  else notices.delete(source);
  byId("failure").hidden = !notices.size;
  byId("failure").replaceChildren(...[...notices].map(([from, each]) => h("p", {}, `${each} `,
    h("button", { type: "button", class: "icon", "aria-label": "Dismiss", onclick: () => notice(from, null) }, "×"))));
}

// Do some work; a request that was overtaken is no failure, and its reply is dropped.
export async function watched(source, work) {
  try {
    const result = await work();
    notice(source, null);
    return result;
  } catch (error) {
    if (error.name !== "AbortError") notice(source, error.message);
    return undefined;
  }
}
