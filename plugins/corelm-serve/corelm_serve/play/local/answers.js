// The answers to the page's requests, without a server: corelm_serve.play.answers, for one model.

import { cardsOf, expressionOf, shortOf } from "./expression.js";
import { MIXTURE } from "./samplers.js";
import { Run } from "./stages.js";
import { Distribution } from "./distribution.js";

const LEVELS = 3; // of a tree that are listed at first
const MOST_ROWS = 256, MOST_TOKENS = 4096;
const NEEDS_PYTHON = "This needs Python: pip install corelm-serve, then corelm play";

export class Answers {
  // `data`: what the served page asks for at its start, and the model's name and facts.
  constructor(data, { kernels, network, vocabulary, expressions }) {
    Object.assign(this, { data, kernels, network, vocabulary, expressions, rows: new Map() });
  }

  // The answer to a request, or an error with the message that is shown.
  answer(path, body) {
    const answers = {
      "/api/samplers": () => this.data.start, "/v1/models": () => ({ data: [{ id: this.data.model }] }),
      "/api/next": () => this.next(body), "/api/tree": () => this.tree(body),
      "/api/write": () => this.write(body), "/tokenize": () => ({ tokens: this.vocabulary.encode(body.prompt) }),
    };
    if (!answers[path]) throw new Error(NEEDS_PYTHON);
    return answers[path]();
  }

  chainOf({ sampler, stages, settings, off = [] }, all = false) {
    if (settings !== undefined) throw new Error(NEEDS_PYTHON);
    const chain = stages ? this.expressions.ofStages(stages) : this.expressions.read(sampler);
    const on = all ? chain : chain.filter((_, at) => !off.includes(at));
    return on.length ? on : this.expressions.read("");
  }

  // ---- places ----

  place({ prompt, tokens, seed }) {
    const before = this.vocabulary.encode(prompt), { size } = this.vocabulary, wrong = tokens.find((id) => !(id >= 0 && id < size));
    if (wrong !== undefined) throw new Error(`there is no token ${wrong}; the ids are 0 to ${size - 1}`);
    if (before.length + tokens.length > MOST_TOKENS) throw new Error(`the text has at most ${MOST_TOKENS} tokens`);
    if (this.vocabulary.start === null && !before.length && !tokens.length) throw new Error("this model cannot continue an empty text; give it at least one token");
    return { prompt: before, tokens, ids: [...before, ...tokens], seed, ended: tokens.length > 0 && this.vocabulary.ends.includes(tokens.at(-1)) };
  }

  // The model's logits after a text, without what is never drawn.
  row(ids) {
    const key = ids.join();
    let row = this.rows.get(key);
    if (!row) {
      row = this.network.after(this.vocabulary.start === null ? ids : [this.vocabulary.start, ...ids]);
      for (const id of this.vocabulary.never) row[id] = -Infinity;
      if (this.rows.size >= MOST_ROWS) this.rows.delete(this.rows.keys().next().value);
    }
    this.rows.delete(key); // so that the last one is the latest
    this.rows.set(key, row);
    return row;
  }

  // What a chain reads at a place: surprisals only where it asks for them.
  past({ prompt, ids }, chain) {
    const at = { tokens: ids, prompt: prompt.length, vocabulary: this.vocabulary, surprisals: [], modelSurprisals: [] };
    if (!chain.some(readsSurprisals)) return at;
    for (let end = prompt.length; end < ids.length; end++) {
      const row = this.row(ids.slice(0, end)), before = { ...at, tokens: ids.slice(0, end) };
      const logits = new Run(this.kernels, row, before).apply(chain, row);
      at.surprisals.push(this.kernels.surprisal(logits, ids[end]));
      at.modelSurprisals.push(this.kernels.surprisal(row, ids[end]));
    }
    return at;
  }

  words({ prompt, ids }) {
    const write = this.vocabulary.writer(prompt);
    return ids.slice(prompt.length).map((id, at) => {
      const nats = this.kernels.surprisal(this.row(ids.slice(0, prompt.length + at)), id);
      return { id, text: write(id), end: this.vocabulary.ends.includes(id), surprisal: Number.isFinite(nats) ? nats : null };
    });
  }

  textOf(ids) {
    const textAfter = this.vocabulary.textAfter(ids), { ends } = this.vocabulary;
    return (id) => ({ text: ends.includes(id) ? "" : textAfter(id), end: ends.includes(id) });
  }

  // ---- requests ----

  next(body) {
    let place, chain;
    try {
      place = this.place(body);
      chain = this.chainOf(body);
    } catch ({ message }) {
      return { chain: null, error: message, param: place ? null : "prompt" };
    }
    const words = this.words(place), nats = words.filter(({ end }) => !end).map(({ surprisal }) => surprisal);
    return {
      chain: { expression: expressionOf(chain), stages: cardsOf(this.chainOf(body, true)) },
      notes: [], words,
      surprisal: nats.length && !nats.includes(null) ? nats.reduce((sum, each) => sum + each, 0) / nats.length : null,
      averaged: nats.length, human: this.data.human, vocabulary: this.vocabulary.size, unit: this.vocabulary.unit,
      largest_entropy: Math.log(this.vocabulary.size), ended: place.ended, ...this.nextAt(place, chain, body),
    };
  }

  nextAt(place, chain, { count = 12, draws = 0, stage = null }) {
    const model = new Distribution(this.row(place.ids)), trace = [], { ends } = this.vocabulary;
    let error = null;
    try {
      new Run(this.kernels, model.logits, this.past(place, chain), trace).apply(chain, model.logits);
    } catch ({ message }) {
      error = message;
    }
    const columns = [model];
    for (const each of trace) columns.push(new Distribution(each.logits, columns.at(-1), model, each));
    const last = columns.at(-1), listed = model.inOrder([...new Set([...model.likeliest(count), ...last.likeliest(count)])]);
    const position = place.tokens.length, drawn = error || place.ended ? null : this.kernels.draw(last.logits, this.kernels.exports.uniform(place.seed, 0, position)).id;
    const counts = new Map();
    for (let sample = 0; drawn !== null && sample < draws; sample++) {
      const { id } = this.kernels.draw(last.logits, this.kernels.exports.uniform(place.seed, sample, position));
      counts.set(id, (counts.get(id) ?? 0) + 1);
    }
    const textOf = this.textOf(place.ids), short = (each) => shortOf(each, this.expressions.offers.get(each.name) ?? MIXTURE);
    const table = stage !== null && stage < columns.length ? columns[stage].arithmetic(columns[Math.max(stage - 1, 0)], count) : null;
    for (const row of table?.rows ?? []) Object.assign(row, textOf(row.token));
    return {
      columns: columns.map((each) => each.described(ends, expressionOf, short)),
      tokens: (drawn === null || listed.includes(drawn) ? listed : [...listed, drawn]).map((id) => ({ id, probabilities: columns.map((each) => each.probabilities[id]), removed_by: firstOf(columns, (each) => each.removes(id)), count: counts.get(id) ?? 0, ...textOf(id) })),
      draws: drawn === null ? 0 : draws, arithmetic: table, drawn, error,
    };
  }

  tree(body) {
    const chain = this.chainOf(body), node = (path) => ({ path, error: null, ...this.wordsAt(this.place({ ...body, tokens: [...body.tokens, ...path] }), chain, body.count ?? 4) });
    if (body.paths) return { nodes: [[], ...body.paths].map(node) };
    const nodes = [node([])];
    while (nodes.length < LEVELS) {
      const { path, words } = nodes.at(-1), likeliest = words.find(({ end }) => !end);
      if (!likeliest) break;
      nodes.push(node([...path, likeliest.id]));
    }
    return { nodes };
  }

  wordsAt(place, chain, count) {
    if (place.ended) return { words: [] };
    try {
      const row = this.row(place.ids), last = new Distribution(new Run(this.kernels, row, this.past(place, chain)).apply(chain, row)), textOf = this.textOf(place.ids);
      return { words: last.likeliest(count).map((id) => ({ id, probability: last.probabilities[id], ...textOf(id) })) };
    } catch ({ message }) {
      return { words: [], error: message };
    }
  }

  write(body) {
    if (body.decoder) throw new Error(NEEDS_PYTHON);
    const chain = this.chainOf(body), tokens = [...body.tokens], first = tokens.length, isFolding = chain.some(readsSurprisals);
    let place = this.place({ ...body, tokens }), at = this.past(place, chain);
    for (let left = body.length; left > 0 && !place.ended; left--) {
      const row = this.row(place.ids), logits = new Run(this.kernels, row, at).apply(chain, row);
      const { id, surprisal } = this.kernels.draw(logits, this.kernels.exports.uniform(place.seed, 0, tokens.length)) ?? {};
      if (id === undefined) throw new Error("the chain leaves no distribution");
      tokens.push(id);
      place = this.place({ ...body, tokens });
      at = { ...at, tokens: place.ids };
      if (isFolding) Object.assign(at, { surprisals: [...at.surprisals, surprisal], modelSurprisals: [...at.modelSurprisals, this.kernels.surprisal(row, id)] });
    }
    return { words: this.words(place).slice(first) };
  }
}

const FOLDING = ["mirostat", "adaptive_p"];

// True for a stage, or one inside of it, that reads how surprising the drawn tokens were.
const readsSurprisals = ({ name, values, types, isNeutral }) => !isNeutral && (FOLDING.includes(name) || Object.entries(values).some(([key, value]) => types[key] === "sampler" && value.some(readsSurprisals)));

const firstOf = (columns, test) => { const at = columns.findIndex(test); return at < 0 ? null : at; };
