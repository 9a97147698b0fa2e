// The state as a link: one function that writes it, one that reads it.

import { after } from "./ahead.js";
import { FIRST, shownSides } from "./state.js";
import { written } from "./chain.js";
import { LESSONS } from "./steps.js";
import { Tree } from "./tree.js";

export const DRAWS = 100;

// Return the state as JSON: what a link and a file hold.
export function toSaved({ model, prompt, chat, seed, decoder, compare, lesson }) {
  return { model, prompt, ...(chat ? { chat } : {}), seed, decoder, compare, ...(lesson === null ? {} : { lesson }), sides: shownSides().map(toSide) };
}

const toSide = (one) => ({
  ...(one.chain ?? chainOf(one.cards)), ...one.tree.saved,
  ...(one.draws ? { draws: true } : {}), ...(one.stage === null ? {} : { stage: one.stage }),
  ...(one.ahead ? { ahead: after(one.ahead.paths, one.ahead.at, one.tree.ids()) ?? true } : {}),
});

// Cards that are switched off are in the chain too. It has no expression until the server has written each card.
function chainOf(cards) {
  const off = cards.flatMap((card, at) => (card.on ? [] : [at]));
  if (cards.every((card) => card.expression)) return { sampler: cards.map((card) => card.expression).join(" | "), off };
  return { stages: cards.flatMap((card) => written([{ ...card, on: true }])), off };
}

// Read a saved state; `notes` say what of it can't be used. Its tokens mean other words to a model
// that isn't its own.
export function fromSaved(saved, { models, decoders, facts }) {
  if (typeof saved !== "object" || saved === null || Array.isArray(saved)) throw new Error("it holds no state of corelm play");
  const notes = [], lesson = Number.isInteger(saved.lesson) && saved.lesson in LESSONS ? saved.lesson : null;
  if (lesson === null && saved.lesson !== undefined) notes.push(`There is no lesson ${JSON.stringify(saved.lesson)}: links count them from 0 to ${LESSONS.length - 1}.`);
  // A link may have the number of a lesson alone.
  if (!("sampler" in saved || "sides" in saved)) saved = { ...LESSONS[lesson]?.saved, ...saved };
  const { model = models[0], seed = FIRST.seed } = saved, isServed = models.includes(model);
  if (!isServed) notes.push(`This is for the model ${model}, which isn't served here: its prompt and its chain are shown with ${models[0]}, without its words. Start corelm play --model ${model} to see them.`);
  if (!isSeed(seed)) notes.push(NO_SEED);
  const sides = Array.isArray(saved.sides) && saved.sides.length ? saved.sides.slice(0, 2) : [saved];
  if (sides.some((each) => each?.stages && !Array.isArray(each.stages))) throw new Error("its stages are no list");
  const own = facts[isServed ? model : models[0]], isOwn = typeof saved.prompt !== "string";
  return {
    model: isServed ? model : models[0],
    prompt: isOwn ? own.prompt : saved.prompt,
    chat: own.chat && (isOwn || saved.chat === true),
    seed: isSeed(seed) ? seed : FIRST.seed,
    decoder: decoders.includes(saved.decoder) ? saved.decoder : "",
    compare: saved.compare === true && sides.length === 2,
    lesson,
    sides: sides.map((each) => toNewSide(each ?? {}, isServed)),
    notes,
  };
}

const toNewSide = ({ sampler = FIRST.sampler, stages, off = [], draws, stage, ahead, ...text }, isServed) => ({
  chain: { ...(stages ? { stages } : { sampler: String(sampler) }), off },
  tree: isServed ? Tree.from(text) : new Tree(),
  draws: draws === true ? DRAWS : 0,
  stage: isSeed(stage) ? stage : null,
  ahead: isServed && Array.isArray(ahead) ? ahead.filter(Array.isArray) : ahead === true || null,
});

export const NO_SEED = `The seed can't be used: a seed is a whole number from 0 to ${Number.MAX_SAFE_INTEGER}.`;

export const isSeed = (seed) => Number.isSafeInteger(seed) && seed >= 0;

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
