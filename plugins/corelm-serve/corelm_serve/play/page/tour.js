// A tour in five steps: one sentence and one thing to try each.

import { byId } from "./dom.js";

const STEPS = [
  {
    title: "Greedy",
    text: "Greedy keeps only the likeliest word: entropy 0, and the same text at every seed.",
    task: "Draw to the end, then take a new seed and do it again: nothing changes, and soon it repeats itself.",
    sampler: "greedy",
  },
  {
    title: "Stochastic",
    text: "Stochastic draws from the model's own distribution: a word of 5 % comes up once in twenty draws.",
    task: "Draw to the end with three seeds: each text is another one, and now and then a strange word derails it.",
    sampler: "stochastic",
  },
  {
    title: "Temperature",
    text: "Temperature sharpens the distribution below 1 and flattens it above: watch the bars and the entropy.",
    task: "Move t slowly from 0.2 to 2, and draw a text at either end.",
    sampler: "temperature(t=0.7)",
  },
  {
    title: "Uniform",
    text: "Uniform forgets the model: every word is as likely as every other, and the entropy is ln V.",
    task: "Draw to the end. This is how little the vocabulary says by itself.",
    sampler: "uniform",
  },
  {
    title: "A chain of your own",
    text: "Samplers act one after the other: each column shows what one of them did to the word before you draw it.",
    task: "Move top_p before the temperature and behind it, and compare the entropy of the last column: order matters, since top_p keeps fewer words of a sharper distribution.",
    sampler: "temperature(t=1.5) | top_p(p=0.9)",
  },
];

export class Tour {
  constructor(show) {
    this.show = show; // shows the chain of a step
    this.at = 0;
    byId("tour-next").addEventListener("click", () => this.go(this.at + 1));
    byId("tour-back").addEventListener("click", () => this.go(this.at - 1));
    byId("tour-close").addEventListener("click", () => this.close());
  }

  go(at) {
    if (at >= STEPS.length) return this.close();
    this.at = Math.max(0, at);
    const step = STEPS[this.at];
    byId("tour-title").textContent = `${this.at + 1} of ${STEPS.length}: ${step.title}`;
    byId("tour-text").textContent = step.text;
    byId("tour-task").textContent = step.task;
    byId("tour-back").disabled = this.at === 0;
    byId("tour-next").textContent = this.at === STEPS.length - 1 ? "End of the tour" : "Next";
    byId("tour").hidden = false;
    this.show(step.sampler);
    byId("tour-next").focus({ preventScroll: true });
  }

  close() {
    byId("tour").hidden = true;
    byId("tour-open").focus();
  }
}
