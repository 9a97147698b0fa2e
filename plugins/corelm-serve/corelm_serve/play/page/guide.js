// The tour and the lessons: one step at a time, above the page.

import { byId, writeWithUnit } from "./dom.js";
import { LESSONS, TOUR } from "./steps.js";

const GUIDES = { tour: TOUR, lessons: LESSONS };

export class Guide {
  // `show(step, lesson)` shows the state of a step; `lesson` is its index, null on the tour.
  constructor(show) {
    this.show = show;
    this.at = 0;
    byId("tour-next").addEventListener("click", () => (this.covered ? this.cover(false) : this.go(this.at + 1)));
    byId("tour-back").addEventListener("click", () => this.go(this.at - 1));
    byId("tour-close").addEventListener("click", () => this.close());
    for (const name of Object.keys(GUIDES)) byId(`${name}-open`).addEventListener("click", () => { this.name = name; this.go(0); });
  }

  get steps() {
    return GUIDES[this.name];
  }

  go(at) {
    if (at >= this.steps.length) return this.close();
    this.at = Math.max(0, at);
    this.write();
    this.show(this.steps[this.at], this.name === "lessons" ? this.at : null);
    return byId("tour-next").focus({ preventScroll: true });
  }

  // Show the lesson of a state that was opened; null for none.
  follow(lesson) {
    if (lesson !== null) this.write("lessons", lesson);
    else if (this.name === "lessons") this.hide();
  }

  // Write a step, whose state is shown already.
  write(name = this.name, at = this.at) {
    Object.assign(this, { name, at });
    const step = this.steps[at];
    byId("tour-title").textContent = `${at + 1} of ${this.steps.length}: ${step.title}`;
    writeWithUnit(byId("tour-text"), step.text);
    byId("tour-back").disabled = at === 0;
    byId("tour").hidden = false;
    this.cover(Boolean(step.see));
  }

  // Cover the columns until a prediction is made, or show them.
  cover(is) {
    const { see, task } = this.steps[this.at];
    this.covered = is;
    showCover(is);
    byId("tour-task-name").textContent = is ? "Predict." : see ? "See." : "Try it.";
    writeWithUnit(byId("tour-task"), is ? "Say or write down what you expect, then press Show." : see ?? task);
    const isLast = this.at === this.steps.length - 1;
    byId("tour-next").textContent = is ? "Show" : isLast ? `End of the ${this.name}` : "Next";
  }

  hide() {
    byId("tour").hidden = true;
    showCover(false);
  }

  close() {
    this.hide();
    byId(`${this.name}-open`).focus();
    this.show(null, null);
  }
}

// While a prediction is made, the text can't be drawn either.
function showCover(is) {
  document.querySelector("main").classList.toggle("covered", is);
  byId("text").inert = is;
}
