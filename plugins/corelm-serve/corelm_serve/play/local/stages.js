// Run a chain's stages: corelm.contracts.chain_stages, for one row.

import { SAMPLERS } from "./samplers.js";

const NOWHERE = { branch: "", follows: false };

// One call of a chain. `trace` gets the result of each stage, neutral ones too.
export class Run {
  constructor(kernels, model, at, trace = null) { Object.assign(this, { kernels, model, at, trace }); }

  apply(chain, logits) {
    try {
      return mixtureOf(this.kernels, this.chain(chain, [{ weight: 1, logits }], NOWHERE));
    } finally {
      for (const each of this.trace ?? []) each.logits = mixtureOf(this.kernels, each.parts);
    }
  }

  // The state after some stages: the logits of each branch, with its weight.
  chain(stages, parts, place) {
    let left = stages.filter((stage) => !stage.isNeutral).length;
    for (const stage of stages) {
      if (!stage.isNeutral) left--;
      if (stage.isNeutral && !this.trace) continue;
      try {
        parts = this.stage(stage, parts, left ? { branch: place.branch, follows: true } : place);
      } catch (error) {
        // What a switch chose has named itself.
        throw error.stage && SAMPLERS[stage.name]?.chooses ? error : Object.assign(new Error(`${stage.name}: ${error.message}`), { stage });
      }
    }
    return parts;
  }

  stage(stage, parts, place) {
    const does = SAMPLERS[stage.name] ?? { mixes: true };
    if (does.chooses) return this.switched(stage, does.chooses(stage.values, this.at), parts, place);
    if (stage.isNeutral) return this.note(stage, parts, place);
    if (does.tosses && (place.follows || parts.length > 1)) return this.note(stage, joined(parts, (logits) => this.tossed(does.tosses(stage.values, this.at), logits)), place, place.follows);
    let fellBack = false, ids = null;
    const after = joined(parts, (logits) => {
      if (does.mixes) return [{ weight: 1, logits: this.mixed(stage, logits) }];
      if (does.kernels) return [{ weight: 1, logits: this.called(does.kernels(stage.values, this.at), logits) }];
      ids = does.forbids?.(stage.values, this.at) ?? null;
      const allowed = does.allows?.(stage.values, this.at) ?? null;
      const isAllowed = allowed ? (id) => allowed.includes(id) : ids && ((set) => (id) => !set.has(id))(new Set(ids));
      if (!isAllowed) return [{ weight: 1, logits }];
      const masked = this.masked(logits, isAllowed);
      fellBack ||= masked.fellBack;
      return [{ weight: 1, logits: masked.logits }];
    });
    return this.note(stage, after, place, true, fellBack);
  }

  switched(stage, [parameter, chain], parts, { branch, follows }) {
    return this.chain(chain, parts, { branch: [branch, parameter ? `${stage.name} ${parameter}` : stage.name].filter(Boolean).join(", "), follows });
  }

  note(stage, parts, { branch }, isKept = true, fellBack = false) {
    this.trace?.push({ stage, parts, branch, fellBack });
    return isKept ? parts : [{ weight: 1, logits: mixtureOf(this.kernels, parts) }];
  }

  called(calls, logits) {
    for (const [name, ...of] of calls) logits = name === "remove_tokens" ? this.without(logits, of[0].ids) : this.kernels.stage(logits, name, ...of);
    return logits;
  }

  // Without some tokens; the likeliest stays where nothing would.
  without(logits, ids) {
    const left = logits.slice();
    ids.forEach((id) => { if (id >= 0 && id < left.length) left[id] = -Infinity; });
    return isEmpty(left) ? only(likeliestOf(logits), logits.length) : left;
  }

  masked(logits, isAllowed) {
    const left = logits.map((logit, id) => (isAllowed(id) ? logit : -Infinity));
    if (!isEmpty(left)) return { logits: left, fellBack: false };
    const possible = this.model.map((logit, id) => (isAllowed(id) ? logit : -Infinity));
    return { logits: only(likeliestOf(isEmpty(possible) ? this.model : possible), logits.length), fellBack: true };
  }

  // A coin: heads with the cut, tails without.
  tossed({ probability, cut: [name, ...of] }, logits) {
    const stays = this.kernels.stage(logits, name, ...of), heads = logits.map((logit, id) => (stays[id] > -Infinity ? logit : -Infinity));
    const acts = logits.some((logit, id) => logit > -Infinity && !(stays[id] > -Infinity));
    return [{ weight: acts ? probability : 0, logits: heads }, { weight: acts ? 1 - probability : 1, logits }];
  }

  // The mixture of two samplers, which `schedule` makes.
  mixed({ values: { first, last, w } }, logits) {
    const [a, b] = [[first, Math.log1p(-w)], [last, Math.log(w)]].map(([chain, weight]) => this.kernels.stage(new Run(this.kernels, this.model, this.at).apply(chain, logits), "log_softmax").map((each) => each + Math.fround(weight)));
    return a.map((each, id) => logAddExp(each, b[id]));
  }
}

// The parts after a stage that acts on each of them; without those of no weight.
function joined(parts, act) {
  const after = parts.flatMap(({ weight, logits }) => act(logits).map((part) => ({ ...part, weight: weight * part.weight })));
  const some = after.filter(({ weight }) => weight > 0);
  return some.length === 1 ? [{ ...some[0], weight: 1 }] : some;
}

function mixtureOf(kernels, parts) {
  if (parts.length === 1) return parts[0].logits;
  const weighted = parts.map(({ weight, logits }) => kernels.stage(logits, "log_softmax").map((each) => each + Math.fround(Math.log(weight))));
  return weighted.reduce((a, b) => a.map((each, id) => logAddExp(each, b[id])));
}

// As NumPy does it, which rounds each step: thousands of tokens can have one logit, so that an error adds up.
function logAddExp(a, b) {
  if (a === b) return a + Math.fround(Math.LN2);
  const most = Math.max(a, b), least = Math.min(a, b);
  return least === -Infinity ? most : most + Math.fround(Math.log1p(Math.fround(Math.exp(Math.fround(least - most)))));
}

const isEmpty = (logits) => logits.every((logit) => logit === -Infinity);
const likeliestOf = (logits) => logits.reduce((best, logit, id) => (logit > logits[best] ? id : best), 0);
const only = (id, size) => new Float32Array(size).fill(-Infinity).fill(0, id, id + 1);
