// The chain as cards: add, switch, move and take away samplers, and set their parameters.

import { announce, h, offer } from "./dom.js";
import { control } from "./controls.js";

const FEW = 2; // stages, whose cards are open from the start

// `samplers` are the installed ones; `changed()` is called after every change of `stages`.
export class ChainEditor {
  constructor(list, samplers, changed) {
    Object.assign(this, { list, changed });
    this.samplers = new Map(samplers.map((each) => [each.name, each]));
    this.stages = [];
    this.context = { vocabulary: 15000 };
  }

  // Show the stages that the server has read, and return their cards; those in `off` are switched off.
  show(stages, off = []) {
    const open = new Set(this.stages.filter((stage) => stage.open).map((stage) => stage.name));
    this.stages = stages.map((stage, at) => asStage({ ...stage, on: !off.includes(at) }));
    for (const stage of this.stages) stage.open = stages.length <= FEW || open.has(stage.name);
    this.draw();
    return this.stages;
  }

  // Take over how the server writes the stages; of `edited` cards it has those that are on.
  read(stages, edited) {
    const cards = edited ? this.stages.filter((stage) => stage.on) : this.stages;
    cards.forEach((stage, at) => Object.assign(stage, { expression: stages[at].expression, neutral: stages[at].neutral }));
    this.stages.forEach((stage, at) => {
      const card = this.list.children[at];
      card.classList.toggle("neutral", stage.on && stage.neutral);
      card.querySelector(".values").textContent = summary(stage, this.samplers.get(stage.name));
    });
  }

  draw() {
    this.list.replaceChildren(...this.cards(this.stages));
  }

  cards(stages) {
    return stages.map((stage, at) => this.card(stages, stage, at));
  }

  card(stages, stage, at) {
    const sampler = this.samplers.get(stage.name) ?? { help: "", parameters: [] };
    const toggle = h("input", {
      type: "checkbox", role: "switch", checked: stage.on, "aria-label": `use ${stage.name}`,
      onchange: () => { stage.on = toggle.checked; card.classList.toggle("off", !stage.on); this.changed(); },
    });
    const values = h("small", { class: "values" }, summary(stage, sampler));
    const name = h("button", { type: "button", class: "open", "aria-expanded": String(stage.open), title: sampler.package ?? "",
      onclick: () => { stage.open = card.classList.toggle("opened"); name.setAttribute("aria-expanded", String(stage.open)); } },
    h("strong", {}, stage.name), values);
    const card = h("li", { class: ["card", stage.on ? "" : "off", stage.open ? "opened" : ""].filter(Boolean).join(" "), data: { name: stage.name } },
      h("div", { class: "head" }, toggle, name,
        this.mover(stages, at, -1), this.mover(stages, at, 1),
        h("button", { type: "button", class: "icon", "aria-label": `take ${stage.name} out`, title: "take out",
          onclick: () => { stages.splice(at, 1); this.draw(); this.changed(); this.focusOn(at - 1); } }, "×")),
      h("div", { class: "body" },
        h("p", { class: "help", title: sampler.help }, sampler.help),
        sampler.parameters.map((parameter) => this.parameter(stage, parameter))));
    card.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
      if (event.altKey && by) { event.preventDefault(); event.stopPropagation(); this.move(stages, at, by); }
    });
    this.makeDraggable(name, card, stages, at);
    return card;
  }

  parameter(stage, parameter) {
    const value = stage.parameters[parameter.name] ?? parameter.default;
    if (parameter.type === "sampler") return this.nested(stage, parameter, value);
    const change = (moved) => { stage.parameters[parameter.name] = moved; this.changed(); };
    return h("div", { class: "parameter", title: parameter.help },
      h("span", {}, parameter.name, h("small", {}, ` ${parameter.help}`)),
      control(parameter, value, this.context, change));
  }

  // A sampler inside a sampler: cards in a card.
  nested(stage, parameter, value) {
    stage.parameters[parameter.name] = value;
    value.stages = value.stages.map(asStage);
    const label = `Add to ${parameter.name}`, adder = h("select", { "aria-label": label, title: "Enter adds the one chosen" });
    offer(adder, `${label}…`, [...this.samplers.values()].map(({ name, help }) => [name, name, help]), (name) => {
      value.stages.push(fresh(this.samplers.get(name)));
      this.draw();
      this.changed();
    });
    return h("div", { class: "parameter nested" },
      h("span", {}, parameter.name, h("small", {}, ` ${parameter.help}`)),
      h("ol", { class: "cards" }, this.cards(value.stages)), adder);
  }

  mover(stages, at, by) {
    if (stages.length === 1) return null;
    const name = by < 0 ? "earlier" : "later";
    return h("button", {
      type: "button", class: "icon", "aria-label": `move ${stages[at].name} ${name}`, title: `${name} (Alt+arrow)`,
      disabled: at + by < 0 || at + by >= stages.length, onclick: () => this.move(stages, at, by),
    }, by < 0 ? "‹" : "›");
  }

  move(stages, at, by) {
    if (at + by < 0 || at + by >= stages.length) return;
    const [stage] = stages.splice(at, 1);
    stages.splice(at + by, 0, stage);
    this.draw();
    this.changed();
    announce(`${stage.name} is now stage ${at + by + 1} of ${stages.length}`);
    this.focusOn(at + by);
  }

  // Focus a card, or the list that adds one where none is left.
  focusOn(at) {
    const card = this.list.children[Math.max(0, at)];
    (card?.querySelector(".open") ?? this.list.parentElement.querySelector("select")).focus();
  }

  // A card is dragged by its name, with a mouse or a finger, to another card of its list.
  makeDraggable(name, card, stages, at) {
    name.addEventListener("pointerdown", (start) => {
      start.target.releasePointerCapture(start.pointerId); // or a finger's drag ends on the card where it began
      const end = new AbortController();
      for (const type of ["pointerup", "pointercancel"]) addEventListener(type, ({ target, pointerId }) => {
        if (pointerId !== start.pointerId) return; // another finger
        end.abort();
        const to = [...card.parentElement.children].findIndex((each) => each.contains(target));
        if (type === "pointerup" && to >= 0 && to !== at) this.move(stages, at, to - at);
      }, { signal: end.signal });
    });
  }

  add(sampler) {
    this.stages.push(fresh(sampler));
    this.draw();
    this.changed();
    announce(`${sampler.name} is stage ${this.stages.length}`);
  }

  // Mark the cards that notes and errors name.
  mark(notes) {
    const cards = [...this.list.children];
    for (const card of cards) {
      const note = notes.find((each) => mentions(each, card.dataset.name)) ?? "";
      card.classList.toggle("faulty", note !== "");
      card.querySelector(".open").title = note || this.samplers.get(card.dataset.name)?.package || "";
    }
  }
}

// The first name in a note is that of the stage at fault.
const mentions = (note, name) => new RegExp(`^\\W*${name.replace(/\W/g, "\\$&")}\\b`).test(note);

// The parameters of a closed card: those without their default, or the only one.
function summary(stage, offer) {
  if (stage.neutral) return "no effect";
  const shown = (offer?.parameters ?? []).filter(({ name, default: usual }) =>
    offer.parameters.length === 1 || JSON.stringify(stage.parameters[name] ?? usual) !== JSON.stringify(usual));
  return shown.map(({ name, type }) => {
    const value = stage.parameters[name];
    return type === "sampler" ? `${name}…` : `${name}=${typeof value === "object" ? "…" : value}`;
  }).join(", ");
}

const asStage = (stage) => ({
  name: stage.name, parameters: { ...stage.parameters }, expression: stage.expression ?? stage.name, on: stage.on ?? true, open: stage.open ?? true,
  neutral: stage.neutral ?? false,
});

// A sampler is added with values that have an effect.
export function fresh(offer) {
  const parameters = Object.fromEntries(
    offer.parameters.filter((each) => !each.local).map((each) => [each.name, structuredClone(each.start)]));
  return asStage({ name: offer.name, parameters });
}

// The stages that are on, as requests have them.
export function written(stages) {
  return stages.filter((stage) => stage.on).map(({ name, parameters }) => ({
    name,
    parameters: Object.fromEntries(Object.entries(parameters).map(([key, value]) =>
      [key, Array.isArray(value?.stages) ? { stages: written(value.stages.map(asStage)) } : value])),
  }));
}
