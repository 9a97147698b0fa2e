// The wanted state: actions change it at once, requests carry it, and a link holds it. For each side
// also its one request in flight, and the last answer, which is old unless it is of this state.

import { insist, post } from "./api.js";
import { written } from "./chain.js";
import { watched } from "./notices.js";

export const FIRST = { sampler: "temperature(t=0.7)", seed: 1 };
const LISTED = 8; // likely words, of the model and of the chain

// A chain and its text. `chain` is an expression or stages, and the indexes of those that are `off`;
// null once a card was edited: the chain is then that of `cards`, which are null until the server
// has read `chain`. `draws` is how often to draw at the place, `stage` the column whose numbers are
// open. `ahead` has the opened paths of what could follow, and where that was; null while not shown.
export const newSide = ({ chain, tree, draws = 0, stage = null, ahead = null }) => ({
  chain, tree, draws, stage, ahead: ahead && { paths: ahead === true ? null : ahead, at: tree.ids() },
  cards: null, before: { chain: { sampler: FIRST.sampler }, cards: null }, error: "", asked: null, answer: null,
});

export const state = { model: "", prompt: "", chat: false, seed: FIRST.seed, decoder: "", compare: false, lesson: null, sides: [] };

export const shownSides = () => (state.compare ? state.sides : state.sides.slice(0, 1));

// The place after a token, and a chain, as requests name them.
export const place = (one, node = one.tree.at, chain = one.chain ?? { stages: written(one.cards) }) => ({
  model: state.model, prompt: state.prompt, chat: state.chat, tokens: one.tree.ids(node), seed: state.seed, ...chain,
});

// Want another chain; if it can't be read, the one before it is wanted again.
export function setChain(one, chain) {
  if (one.cards) one.before = { chain: one.chain, cards: one.cards };
  one.asked?.controller.abort();
  Object.assign(one, { chain, cards: null, error: "", asked: null });
}

// The cards were edited. Until the server writes them, nobody has the expressions of those that act.
export function editCards(one) {
  Object.assign(one, { chain: null, error: "" });
  for (const card of one.cards) if (card.on) card.expression = null;
}

const wanted = (one) => ({ ...place(one), count: LISTED, draws: one.draws, stage: one.stage });

// True if the answer and the cards are of the wanted state; false while they are old.
export const isShown = (one) => one.cards !== null && one.answer?.key === JSON.stringify(wanted(one));

// True if the wanted state was answered, by its figures or by an error.
export const isAnswered = (one) => one.asked?.isOver && one.asked.key === JSON.stringify(wanted(one));

// Ask for the wanted state, unless that is on its way; then `show` it. What another change overtakes
// is given up.
export function ask(one, source, show) {
  const body = wanted(one), key = JSON.stringify(body), path = one.tree.path();
  if (one.asked?.key === key && !one.asked.failed) return one.asked.done;
  one.asked?.controller.abort();
  const asked = { key, controller: new AbortController(), isOver: false };
  one.asked = asked;
  asked.done = watched(source, () => insist(source, asked.controller.signal, (signal) => post("/api/next", body, signal))).then((reply) => {
    if (one.asked !== asked || !state.sides.includes(one)) return;
    Object.assign(asked, { isOver: true, failed: !reply });
    if (reply?.chain) {
      path.forEach((node, index) => Object.assign(node, reply.words[index]));
      one.answer = Object.assign(reply, { key });
    } else if (reply && reply.param === null) {
      one.error = reply.error;
      if (!one.cards) Object.assign(one, one.before);
    }
    show(reply);
  });
  return asked.done;
}

// The chain of the answer, as an expression.
export const expressionOf = (one) => one.answer.chain.expression;
