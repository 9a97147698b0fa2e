// A distribution of the next token, and what a stage changed: corelm.questions.explanation.

export class Distribution {
  // `before` and `model` are other distributions, and `result` is what a stage returned; none for the model's own.
  constructor(logits, before = null, model = this, { stage = null, branch = "", fellBack = false } = {}) {
    Object.assign(this, { logits, before: before ?? this, model, stage, branch, fellBack });
    let largest = -Infinity, total = 0;
    for (const logit of logits) largest = Math.max(largest, logit);
    this.probabilities = Float64Array.from(logits, (logit) => Math.exp(logit - largest));
    for (const each of this.probabilities) total += each;
    for (let id = 0; id < logits.length; id++) this.probabilities[id] /= total;
    Object.assign(this, { largest, total, logTotal: Math.log(total) });
  }

  canDraw(id) { return this.logits[id] > -Infinity; }

  removes(id) { return this.before.canDraw(id) && !this.canDraw(id); }

  nats(id) { return this.logTotal - (this.logits[id] - this.largest); }

  get entropy() {
    let sum = 0;
    this.probabilities.forEach((p, id) => { if (p > 0) sum += p * this.nats(id); });
    return Math.max(sum, 0);
  }

  // Ids with the largest logits first, the lowest id first on ties.
  inOrder(ids) { return ids.sort((a, b) => this.logits[b] - this.logits[a] || a - b); }

  get ranked() { return (this._ranked ??= this.inOrder([...this.logits.keys()].filter((id) => this.canDraw(id)))); }

  likeliest(count) { return this.ranked.slice(0, count); }

  // The expected surprisal, under the model, of a draw that doesn't end the text; null if it is infinite.
  expectedSurprisal(ends) {
    let sum = 0, mass = 0;
    this.probabilities.forEach((p, id) => { if (p > 0 && !ends.includes(id)) { sum += p * this.model.nats(id); mass += p; } });
    return mass > 0 && Number.isFinite(sum / mass) ? sum / mass : null;
  }

  described(ends, expressionOf, shortOf) {
    const { entropy, stage, before } = this;
    let kept = 0, removed = 0, lost = 0;
    for (let id = 0; id < this.logits.length; id++) {
      kept += this.canDraw(id);
      if (this.removes(id)) { removed++; lost += before.probabilities[id]; }
    }
    return {
      entropy, bits: entropy / Math.LN2, choices: Math.exp(entropy), kept, surprisal: this.expectedSurprisal(ends),
      removed, removed_mass: lost, stage: stage && expressionOf([stage]), name: stage ? shortOf(stage) : "model",
      branch: this.branch, neutral: stage?.isNeutral ?? false, fell_back: this.fellBack,
    };
  }

  // How this stage's logits become probabilities, with the tokens in their order before it.
  arithmetic(before, count) {
    const order = before.ranked, cut = order.findIndex((id) => !this.canDraw(id)), running = [];
    let sum = 0;
    for (const id of order) running.push(sum += before.probabilities[id]);
    const ranks = new Set([...order.keys()].slice(0, count));
    if (cut >= 0) ranks.add(Math.max(cut - 1, 0)).add(cut);
    return {
      largest: this.largest, sum: this.total,
      rows: [...ranks].sort((a, b) => a - b).map((at) => {
        const token = order[at], exponential = Math.exp(this.logits[token] - this.largest);
        return { token, rank: at + 1, before: before.logits[token], after: this.canDraw(token) ? this.logits[token] : null, exponential, probability: exponential / this.total, running: running[at] };
      }),
    };
  }
}
