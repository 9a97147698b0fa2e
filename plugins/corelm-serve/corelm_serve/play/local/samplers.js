// What each built-in sampler does at a place, in the words of the kernels: as its class in samplers/.
//
// `kernels` returns calls, each a kernel and its arguments; `forbids` and `allows` the ids of a mask;
// `chooses` another chain; `tosses` a coin. `at` is the place: its tokens, how many are the prompt's,
// the surprisals of those drawn, the vocabulary.

import { findInTurn, namesOf } from "./names.js";

const nats = (probability) => -Math.log(probability);
const ALL = 1e30, STEEPEST = 1e300; // top_n_sigma; mirostat: two infinite terms have no difference
const PEAK = 5, SHARPNESS = 10, WIDTH = 0.3; // of adaptive_p
const FLOAT32_NATS = Math.fround(88.72283935546875), UNLIMITED = 1.000001; // dry

const past = ({ last, skip_prompt: skips }, { tokens, prompt }) => {
  const counted = tokens.slice(skips ? prompt : 0);
  return last ? counted.slice(-last) : counted;
};
const position = ({ tokens, prompt }) => tokens.length - prompt;

// Ids divided by one number, then less another, or less one each.
const change = (ids, divide, less) => ["change_tokens", { ids }, 0, divide, typeof less === "number" ? less : { numbers: less }];

const filter = (kernels) => ({ kernels });

export const SAMPLERS = {
  greedy: filter(() => [["apply_temperature", 0]]),
  stochastic: filter(() => []),
  uniform: filter(() => [["apply_temperature", Infinity]]),
  temperature: filter(({ t }) => [["apply_temperature", t]]),
  dynamic_temperature: filter(({ t_min: low, t_max: high, exponent }) => [["dynamic_temperature", low, high, exponent]]),
  edt: filter(({ t, theta, base }) => [theta === 0 || base === 1 ? ["apply_temperature", t] : ["edt", t, theta, base]]),
  quadratic: filter(({ factor, curve }) => (factor ? [["quadratic", factor, curve]] : [])),
  top_k: filter(({ k }, { vocabulary }) => (k > 0 && k < vocabulary.size ? [["top_k", k]] : [])),
  top_p: filter(({ p }) => [["top_p", p]]),
  top_a: filter(({ a }) => [["within_min_entropy", nats(a), 1]]),
  top_h: filter(({ h }) => (h < 1 ? [["top_h", h]] : [])),
  top_n_sigma: filter(({ n }) => [["within_std", Math.min(n, ALL)]]),
  min_p: filter(({ p }) => [["within_nats", nats(p)]]),
  epsilon: filter(({ epsilon }) => [["within_min_entropy", nats(epsilon), -1]]),
  eta: filter(({ epsilon }) => [["eta", nats(epsilon)]]),
  typical: filter(({ p }) => [["typical", p]]),
  tail_free: filter(({ z }) => [["tail_free", z]]),
  mirostat: filter(({ tau, eta }, { surprisals }) => {
    const rate = Math.min(eta, STEEPEST), bits = sum(surprisals) / Math.LN2;
    return [["within_min_entropy", (tau * (2 + rate * surprisals.length) - rate * bits) * Math.LN2, -1]];
  }),
  adaptive_p: filter(({ target, decay }, { modelSurprisals: of }) => {
    if (target < 0) return [];
    const recent = (1 - decay) * sum(of.map((each, at) => decay ** (of.length - 1 - at) * Math.exp(-each)));
    const mean = decay ** of.length * target + recent;
    return [["peak_at", Math.min(Math.max(2 * target - mean, 0), 1), PEAK, SHARPNESS, WIDTH]];
  }),
  logit_bias: filter(({ bias }, { vocabulary }) => {
    const biases = new Map();
    for (const [token, each] of bias) for (const id of namesOf(vocabulary).alone(token)) biases.set(id, (biases.get(id) ?? 0) + each);
    if (![...biases.values()].some(Boolean)) return [];
    const added = [...biases].filter(([, each]) => each > -Infinity), removed = [...biases.keys()].filter((id) => biases.get(id) === -Infinity);
    const calls = [change(added.map(([id]) => id), 1, added.map(([, each]) => -each))];
    return removed.length ? [...calls, ["remove_tokens", { ids: removed }]] : calls;
  }),
  length_bias: filter(({ weight, start }, at) => {
    const late = position(at) - start;
    return at.vocabulary.ends.length && late > 0 ? [change(at.vocabulary.ends, 1, -weight * late)] : [];
  }),
  repetition_penalty: filter((of, at) => [...(of.normalised ? [["log_softmax"]] : []), change(past(of, at), of.penalty, 0)]),
  presence_penalty: filter((of, at) => [change(past(of, at), 1, of.penalty)]),
  frequency_penalty: filter((of, at) => [["subtract_counts", { ids: past(of, at) }, 0, of.penalty]]),
  dry: filter((of, at) => {
    const breakers = namesOf(at.vocabulary).existing(of.sequence_breakers);
    const lengths = repetitions(past(of, at), breakers, of.allowed_length);
    const ids = [...lengths.keys()].filter((id) => id >= 0 && id < at.vocabulary.size);
    if (!ids.length || of.multiplier === 0) return [];
    const most = of.base > UNLIMITED ? Math.max(Math.floor(FLOAT32_NATS / Math.fround(Math.log(Math.fround(of.base)))), 1) : Infinity;
    return [change(ids, 1, ids.map((id) => of.multiplier * of.base ** Math.min(lengths.get(id) - of.allowed_length, most)))];
  }),
  ban: { forbids: ({ words }, { vocabulary, tokens }) => namesOf(vocabulary).completing(words, tokens) },
  min_length: { forbids: ({ n }, at) => (position(at) >= n ? null : at.vocabulary.ends.length ? at.vocabulary.ends : null) },
  no_repeat_ngram: {
    forbids: (of, at) => {
      const tokens = past(of, at), before = of.n - 1, last = tokens.slice(tokens.length - before);
      if (!(of.n > 0 && of.n <= tokens.length)) return null;
      return tokens.flatMap((id, place) => (place >= before && last.every((each, back) => tokens[place - before + back] === each) ? [id] : []));
    },
  },
  force: {
    allows: (of, at) => {
      const place = placeOf(of, at), { tokens, vocabulary } = at;
      if (place === null || place > tokens.length) return null;
      const id = namesOf(vocabulary).written(of.words, tokens.slice(0, place))[tokens.length - place];
      return id === undefined ? null : [id];
    },
  },
  phase: { chooses: ({ start, end, inside, outside }, { tokens, vocabulary }) => (findInTurn(tokens, [start, end], vocabulary).length % 2 ? ["inside", inside] : ["outside", outside]) },
  schedule: {
    chooses: ({ first, last, over, shape }, at) => {
      const step = position(at), weight = step < over ? SHAPES[shape](step / over) : 1;
      if (weight === 0 || weight === 1) return weight ? ["last", last] : ["first", first];
      return ["", between(first, last, weight) ?? [{ ...MIXTURE, values: { first, last, w: weight } }]];
    },
  },
  xtc: {
    kernels: ({ probability, threshold, special }, { vocabulary }) => [["xtc", probability, threshold, { ids: protectedIds(special, vocabulary) }]],
    tosses: ({ probability, threshold, special }, { vocabulary }) => ({ probability, cut: ["xtc", 1, threshold, { ids: protectedIds(special, vocabulary) }] }),
  },
};

// What `schedule` makes of two samplers: a stage that the page shows, and doesn't offer.
const UNCHANGED = { stages: [{ name: "stochastic" }] };
export const MIXTURE = {
  name: "mixture", types: { first: "sampler", last: "sampler", w: "float" }, isNeutral: false,
  parameters: [{ name: "first", type: "sampler", default: UNCHANGED }, { name: "last", type: "sampler", default: UNCHANGED }, { name: "w", type: "float", default: 0.5 }],
};

const SHAPES = { linear: (x) => x, cosine: (x) => (1 - Math.cos(Math.PI * x)) / 2, step: () => 0 };

const sum = (numbers) => numbers.reduce((total, each) => total + each, 0);

function protectedIds(special, vocabulary) {
  const named = special.filter((token) => token === "end" || token === "newline");
  const ids = namesOf(vocabulary).existing(special.filter((token) => !named.includes(token)));
  if (named.includes("end")) vocabulary.ends.forEach((id) => ids.add(id));
  if (named.includes("newline")) vocabulary.encode("\n").slice(-1).filter((id) => id !== vocabulary.unknown).forEach((id) => ids.add(id));
  return [...ids].sort((a, b) => a - b);
}

// The place at which forced words begin; null if nothing is to be forced.
function placeOf({ words, at: late, since, unless }, { tokens, prompt, vocabulary }) {
  if (!since) return prompt + late;
  if (unless) {
    const places = findInTurn(tokens, [since, unless], vocabulary);
    return places.length % 2 ? Math.max(places.at(-1) + late, prompt) : null;
  }
  let place = null, end = -1;
  for (const appearance of findInTurn(tokens, [since], vocabulary)) {
    if (place !== null && place < appearance && appearance <= end) continue;
    place = appearance + late;
    end = place + namesOf(vocabulary).written(words, tokens.slice(0, place)).length;
  }
  return place;
}

// The longest repetition that each token would continue.
function repetitions(tokens, breakers, shortest) {
  const back = [...tokens].reverse(), broken = back.findIndex((id) => breakers.has(id)), limit = broken < 0 ? back.length : broken;
  const lengths = new Map();
  if (limit < shortest) return lengths;
  for (let place = 1; place <= back.length; place++) {
    const follower = back[place - 1];
    if (breakers.has(follower)) continue;
    let length = 0;
    while (length < limit && place + length < back.length && back[place + length] === back[length]) length++;
    if (length >= shortest) lengths.set(follower, Math.max(length, lengths.get(follower) ?? 0));
  }
  return new Map([...lengths].sort(([a], [b]) => a - b));
}

// The chain with numbers between those of two chains; null if more than numbers differ.
function between(first, last, weight) {
  if (first.length !== last.length) return null;
  const stages = first.map((stage, at) => stageBetween(stage, last[at], weight));
  return stages.includes(null) ? null : stages;
}

function stageBetween(first, last, weight) {
  if (first.name !== last.name) return null;
  const values = {};
  for (const [name, a] of Object.entries(first.values)) {
    const b = last.values[name], type = first.types[name];
    if (type === "sampler") values[name] = between(a, b, weight);
    else if (a === b || JSON.stringify(a) === JSON.stringify(b)) values[name] = a;
    else if (["float", "int"].includes(type) && Number.isFinite(a) && Number.isFinite(b)) values[name] = type === "int" ? rounded(a + weight * (b - a)) : a + weight * (b - a);
    else return null;
    if (values[name] === null) return null;
  }
  return { ...first, values };
}

// As Python rounds: halves to even.
function rounded(number) {
  const below = Math.floor(number), rest = number - below;
  return rest === 0.5 ? below + (below % 2) : Math.round(number);
}
