// The state of the page: the one object that actions change, and that a link holds.

import { Tree } from "./tree.js";

export const FIRST = { prompt: "this movie is", sampler: "temperature(t=0.7)", seed: 1 };

// A chain and its text. `chain` is sent to the server: an expression or stages; `stages` are the
// cards, null before the first answer; `off` are the indexes of cards to switch off then. `ahead`
// has the opened paths of what could follow the caret, and where that was; null while not shown.
export const newSide = ({ sampler = FIRST.sampler, off = [], tree = new Tree(), ahead = null } = {}) =>
  ({ chain: { sampler }, stages: null, off, tree, ahead: ahead && { paths: ahead, at: tree.ids() }, answer: null, ended: false });

export const state = {
  model: "", prompt: FIRST.prompt, seed: FIRST.seed, decoder: "", compare: false, lesson: null, sides: [newSide(), newSide()],
};

export const shownSides = () => (state.compare ? state.sides : state.sides.slice(0, 1));

// The place after a token, as requests name it.
export const place = (one, node = one.tree.at) => ({
  model: state.model, prompt: state.prompt, tokens: one.tree.ids(node), seed: state.seed, ...one.chain,
});

// The chain that is drawn with, as an expression.
export const expressionOf = (one) => one.answer?.chain.expression ?? one.chain.sampler ?? "";
