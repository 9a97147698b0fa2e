// The state as a link: one function that writes it, one that reads it.

import { DEEPEST_OPENED, MOST_OPENED } from "./ahead.js";
import { FIRST, shownSides } from "./state.js";
import { LESSONS } from "./steps.js";
import { Tree } from "./tree.js";

// Return the state as JSON: what a link and a file hold.
export function toSaved({ model, prompt, seed, decoder, compare, lesson }) {
  return { model, prompt, seed, decoder, compare, ...(lesson === null ? {} : { lesson }), sides: shownSides().map((one) => ({ ...chainOf(one), ...one.tree.saved, ...aheadOf(one) })) };
}

// Cards that are switched off are in the expression too; `off` has their indexes.
function chainOf({ chain, stages, off }) {
  if (!stages) return { sampler: chain.sampler, off };
  return {
    sampler: stages.map((stage) => stage.expression).join(" | "),
    off: stages.flatMap((stage, at) => (stage.on ? [] : [at])),
  };
}

const aheadOf = ({ ahead }) => (ahead ? { ahead: ahead.paths ?? [] } : {});

// Read a saved state; `missing` is its model if it isn't served here: its tokens mean other words.
export function fromSaved(saved, { models, decoders }) {
  if (typeof saved !== "object" || saved === null || Array.isArray(saved)) throw new Error("it holds no state of corelm play");
  const lesson = LESSONS[saved.lesson] ? saved.lesson : null;
  // A link may have the number of a lesson alone.
  if (!("sampler" in saved || "sides" in saved)) saved = { ...LESSONS[lesson]?.saved, ...saved };
  const missing = "model" in saved && !models.includes(saved.model) ? String(saved.model) : null;
  const sides = Array.isArray(saved.sides) && saved.sides.length ? saved.sides.slice(0, 2) : [saved];
  return {
    model: missing === null ? saved.model ?? models[0] : models[0],
    prompt: typeof saved.prompt === "string" ? saved.prompt : FIRST.prompt,
    seed: Number.isSafeInteger(saved.seed) && saved.seed >= 0 ? saved.seed : FIRST.seed,
    decoder: decoders.includes(saved.decoder) ? saved.decoder : "",
    compare: saved.compare === true && sides.length === 2,
    lesson,
    sides: sides.map((each) => ({
      sampler: typeof each?.sampler === "string" ? each.sampler : FIRST.sampler,
      off: Array.isArray(each?.off) ? each.off.filter(Number.isSafeInteger) : [],
      tree: missing === null ? Tree.from(each ?? {}) : new Tree(),
      ahead: missing === null && Array.isArray(each?.ahead) ? each.ahead.filter(isPath).slice(0, MOST_OPENED) : null,
    })),
    missing,
  };
}

const isPath = (path) =>
  Array.isArray(path) && path.length > 0 && path.length <= DEEPEST_OPENED && path.every((id) => Number.isSafeInteger(id) && id >= 0);

// What comes after the # of an address, which no browser sends to a server.
export const toFragment = (saved) => `#${encodeURIComponent(JSON.stringify(saved))}`;

export function ofFragment(fragment) {
  if (fragment.length < 2) return {};
  try {
    return JSON.parse(decodeURIComponent(fragment.slice(1)));
  } catch {
    throw new Error("it can't be read; was it copied as a whole?");
  }
}
