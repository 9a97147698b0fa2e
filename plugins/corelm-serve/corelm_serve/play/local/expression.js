// Expressions such as `top_p(p=0.9) | temperature(t=0.7)`: corelm.registry.expressions, for the
// samplers that run without Python. A chain is an array of stages.

import { Float, readLiteral, written } from "./literals.js";

const STAGE = /^([\w.-]+(?::[\w.-]+)?)\s*(?:\(([^]*)\))?$/;
const PIECE = /'(?:[^'\\]|\\[^])*'|"(?:[^"\\]|\\[^])*"|[^]/gu;
const PARAMETER = /^(?:([^\W\d]\w*)\s*=(?!=)\s*)?([^]*)$/;
const CLOSING = { "(": ")", "[": "]", "{": "}" };
const LONGEST = 10_000, UNCHANGED = "stochastic", OWN = "corelm:";
const INFINITY = { inf: Infinity, "-inf": -Infinity };

// A value that is no literal: a sampler in another one.
class Nested extends String {}

export class Expressions {
  // `offers`: what /api/samplers lists, with the aliases of each parameter and the neutral values.
  constructor(offers) {
    this.offers = new Map(offers.map((offer) => [offer.name, offer]));
    for (const offer of offers) offer.neutral = new Map(Object.entries(offer.neutral).map(([name, value]) => [name, this.convert(offer.parameters.find((each) => each.name === name), fromJson(value))]));
  }

  read(text) {
    if (text.length > LONGEST) throw new Error(`an expression has at most ${LONGEST} characters`);
    return this.build(readStages(text.trim() ? text : UNCHANGED));
  }

  // The chain of stages as the page sends them: names and parameters.
  ofStages(stages) {
    return this.build(stages.map(({ name, parameters }) => [name, [], new Map(Object.entries(parameters ?? {}).map(([key, value]) => [key, fromJson(value)]))]));
  }

  build(stages) { return stages.map(([name, values, named]) => this.stage(name, values, named)); }

  stage(name, values, named) {
    const offer = this.offers.get(name.startsWith(OWN) ? name.slice(OWN.length) : name);
    if (!offer) throw new Error(`there is no sampler '${name}' on this page; with Python all are: pip install corelm-serve, then corelm play`);
    const { parameters } = offer, has = parameters.map((each) => each.name).join(", ") || "none", texts = new Map();
    if (values.length > parameters.length) throw new Error(`${offer.name} takes fewer than ${values.length} values; it has: ${has}`);
    values.forEach((value, at) => texts.set(parameters[at].name, value));
    for (const [key, value] of named) {
      const parameter = parameters.find((each) => each.name === key || each.aliases.includes(key));
      if (!parameter) throw new Error(`${offer.name} has no parameter '${key}'; it has: ${has}`);
      if (texts.has(parameter.name)) throw new Error(`${offer.name}: ${parameter.name} is given twice; it has: ${has}`);
      texts.set(parameter.name, value);
    }
    const made = Object.fromEntries(parameters.map((each) => [each.name, this.convert(each, texts.has(each.name) ? texts.get(each.name) : fromJson(each.default))]));
    const types = Object.fromEntries(parameters.map((each) => [each.name, each.type])), stage = { name: offer.name, values: made, types };
    check(stage);
    stage.isNeutral = offer.neutral.size > 0 && [...offer.neutral].every(([key, value]) => isEqual(made[key], value));
    return stage;
  }

  // A value as a parameter's type, within its bounds.
  convert(parameter, value) {
    const converted = this.cast(parameter, value), { name, type, low, high, above, below, choices } = parameter;
    if (type === "sampler") return converted;
    if (Number.isNaN(converted)) throw new Error(`${name} must be a number, not nan`);
    const [least, most] = [low, high].map(fromJson), isWithin = (least === null || (above ? converted > least : converted >= least)) && (most === null || (below ? converted < most : converted <= most));
    if (choices ? choices.includes(converted) : isWithin) return converted;
    const bounds = [least === null ? null : `${above ? "above" : "at least"} ${INFINITE(least)}`, most === null ? null : `${below ? "below" : "at most"} ${INFINITE(most)}`];
    throw new Error(`${name} must be ${choices ? `one of ${choices.join(", ")}` : bounds.filter(Boolean).join(" and ")}, not ${written(converted, type)}`);
  }

  cast(parameter, value) {
    const { name, type } = parameter;
    if (type === "sampler") {
      if (value?.stages) return this.ofStages(value.stages);
      if (value instanceof Nested || typeof value === "string") return this.read(String(value));
    } else {
      const cast = CASTS[type](value);
      if (cast !== undefined) return cast;
    }
    throw new Error(`${name} must be ${KINDS[type]}, not ${written(value)}`);
  }
}

const INFINITE = (number) => String(number).replace("Infinity", "inf");

const KINDS = { float: "a number", int: "a whole number", bool: "true or false", str: "a text", tuple: "a list of items that are each a token id or a word", dict: "a mapping", "int | str": "a token id or a word", sampler: "a sampler" };

const isNumber = (value) => typeof value === "number" || value instanceof Float;
const numberOf = (text) => { try { const value = readLiteral(text.trim()); return isNumber(value) ? Number(value) : undefined; } catch { return undefined; } };
const toInt = (value) => { const number = typeof value === "string" ? numberOf(value) : isNumber(value) ? Number(value) : undefined; return Number.isInteger(number) ? number : undefined; };
const toToken = (value) => (typeof value === "string" && value ? value : toInt(value));
const allOrNone = (items) => (items.includes(undefined) ? undefined : items);

const CASTS = {
  float: (value) => (typeof value === "string" ? numberOf(value) : isNumber(value) ? Number(value) : undefined),
  int: toInt,
  bool: (value) => (typeof value === "string" ? { true: true, false: false }[value.toLowerCase()] : typeof value === "boolean" ? value : undefined),
  str: (value) => (typeof value === "string" ? value : undefined),
  "int | str": toToken,
  tuple: (value) => {
    const parts = typeof value === "string" ? value.split(",").map((each) => each.trim()).filter(Boolean) : value;
    const items = typeof value === "string" && !parts.length ? value.split(/\s+/).filter(Boolean) : parts;
    return Array.isArray(items) ? allOrNone(items.map(toToken)) : undefined;
  },
  dict: (value) => (value instanceof Map ? value : undefined),
};

// What the class of a sampler checks of its values together.
function check({ name, values }) {
  if (name === "force" && values.unless && !values.since) throw new Error("unless needs since, the text to count from");
  for (const [token, bias] of name === "logit_bias" ? values.bias : []) {
    if (toToken(token) === undefined || !isNumber(bias) || !(bias < Infinity)) throw new Error(`bias must map token ids or words to numbers or -inf, not ${written(token)} to ${written(bias)}`);
  }
}

// ---- to text and JSON ----

export const expressionOf = (chain) => chain.map(({ name, values, types }) => {
  const list = Object.entries(values).map(([key, value]) => `${key}=${valueOf(value, types[key])}`);
  return list.length ? `${name}(${list.join(", ")})` : name;
}).join(" | ");

const valueOf = (value, type) => (type === "sampler" ? expressionOf(value) : written(value, type));

// A stage as an expression, without parameters at their defaults if it has several.
export function shortOf({ name, values, types }, { parameters }) {
  const list = parameters.filter((each) => parameters.length === 1 || valueOf(values[each.name], each.type) !== valueOf(defaultOf(each), each.type));
  return list.length ? `${name}(${list.map((each) => `${each.name}=${valueOf(values[each.name], types[each.name])}`).join(", ")})` : name;
}

const defaultOf = ({ type, default: value }) => (type === "sampler" ? value.stages.map(({ name }) => ({ name, values: {}, types: {} })) : fromJson(value));

export const cardsOf = (chain) => chain.map((stage) => ({
  name: stage.name, expression: expressionOf([stage]), neutral: stage.isNeutral,
  parameters: Object.fromEntries(Object.entries(stage.values).map(([key, value]) => [key, toJson(value, stage.types[key])])),
}));

function toJson(value, type) {
  if (type === "sampler") return { stages: cardsOf(value) };
  if (Array.isArray(value)) return value.map((each) => toJson(each));
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, each]) => [String(key), toJson(each)]));
  if (isNumber(value)) return Number.isFinite(Number(value)) ? Number(value) : written(value, "float");
  return value;
}

function fromJson(value) {
  if (typeof value === "string") return INFINITY[value] ?? value;
  if (Array.isArray(value)) return value.map(fromJson);
  if (value && typeof value === "object" && !value.stages) return new Map(Object.entries(value).map(([key, each]) => [key, fromJson(each)]));
  return value;
}

const isEqual = (a, b) => (Array.isArray(a) && a[0]?.values ? expressionOf(a) === expressionOf(b) : written(a, "float") === written(b, "float"));

// ---- from text ----

function splitAt(text, mark) {
  const open = [], parts = [];
  let start = 0;
  for (const { 0: piece, index } of text.matchAll(PIECE)) {
    if (piece in CLOSING) open.push(CLOSING[piece]);
    else if (open.length && piece === open.at(-1)) open.pop();
    else if (piece === mark && !open.length) { parts.push(text.slice(start, index)); start = index + 1; }
  }
  return [...parts, text.slice(start)];
}

const readStages = (text) => splitAt(text, "|").map((part) => readStage(part.trim()));

function readStage(text) {
  const match = STAGE.exec(text);
  if (!match) throw new Error(`cannot read ${written(text.slice(0, 60))} as a sampler; write name or name(parameter=value), and put | between two`);
  const [, name, inner = ""] = match, values = [], named = new Map(), parts = splitAt(inner, ",");
  if (!parts.at(-1).trim()) parts.pop();
  for (const part of parts) {
    const [, key, value] = PARAMETER.exec(part.trim());
    if (!value || named.has(key) || (named.size && !key)) throw new Error(`cannot read the parameters of ${name}: ${written(inner.slice(0, 60))}; write each once, as parameter=value with a number, True or False, a quoted text, a list, a mapping or a sampler`);
    if (key) named.set(key, readValue(value));
    else values.push(readValue(value));
  }
  return [name, values, named];
}

function readValue(text) {
  try {
    return readLiteral(text);
  } catch {
    return new Nested(text);
  }
}
