// One chain and its text as the page shows them: cards, expression, columns, words.

import { after, AheadView } from "./ahead.js";
import { file, insist, post } from "./api.js";
import { showArithmetic } from "./arithmetic.js";
import { ChainEditor, fresh, written } from "./chain.js";
import { ColumnsView, Strip } from "./columns.js";
import { byId, count, offer } from "./dom.js";
import { DRAWS } from "./link.js";
import { notice, watched } from "./notices.js";
import { ask, editCards, isAnswered, isShown, place, setChain, state } from "./state.js";
import { csv, download } from "./take.js";
import { WordsView } from "./words.js";

export class Side {
  // `offered` is the server's list of samplers and presets; `page` has the actions of the page.
  constructor(at, suffix, offered, page) {
    this.at = at;
    this.page = page;
    this.part = (id) => byId(id + suffix);
    this.source = `next${suffix}`; // of notices
    this.editor = new ChainEditor(this.part("cards"), offered.samplers, () => { editCards(this.text); page.changed(); });
    this.columns = new ColumnsView(this.part("columns"), {
      take: (token) => page.take(this, null, token),
      open: (at) => this.openArithmetic(at),
    });
    this.ahead = new AheadView(this.part("ahead").querySelector("ul"), {
      take: (words) => page.goOn(this, words),
      opened: (paths) => { this.text.ahead.paths = paths; this.showAhead(); page.remember(); },
    });
    this.words = new WordsView(this.part("words"), {
      levels: offered.levels,
      alternatives: (node) => post("/api/tree", { ...place(this.text, node.parent), count: 8, paths: [] }),
      take: (node, word) => page.take(this, node, word),
      goTo: (node) => { this.text.tree.goTo(node.parent); page.moved(); },
      type: (text) => page.type(this, text),
    });
    this.strip = new Strip();
    this.part("mean-strip").append(this.strip.box);
    this.connect(offered);
  }

  connect({ samplers, presets }) {
    this.part("expression").addEventListener("input", ({ target }) => { setChain(this.text, { sampler: target.value }); this.page.changed(true); });
    offer(this.part("add"), "Add a sampler…", samplers.map(({ name, help }) => [name, `${name}: ${help}`, help]), (name) => this.add(samplers.find((each) => each.name === name)));
    offer(this.part("preset"), "As an engine does…", Object.entries(presets).map(([name, expression]) => [expression, name]), (sampler) => this.setExpression(sampler));
    this.part("paste-open").addEventListener("click", () => this.page.paste(this));
    this.part("draws").addEventListener("click", () => { this.text.draws = this.text.draws ? 0 : DRAWS; this.page.changed(); });
    this.part("ahead-open").addEventListener("click", () => this.toggleAhead());
    this.part("next-title").after(saveMenu("the next word", [ // of shared.js
      ...["SVG", "PDF", "PNG"].map((form) => [form, form === "PNG" ? "picture" : "vector picture", () => this.savePicture(form.toLowerCase())]),
      ["CSV", "its data", async () => { await this.refresh(); if (isShown(this.text)) download("corelm-play.csv", csv(this.text.answer), "text/csv"); }],
    ]));
  }

  get text() {
    return state.sides[this.at];
  }

  setExpression(sampler) {
    setChain(this.text, { sampler });
    this.part("expression").value = sampler;
    this.page.changed();
  }

  // Add a sampler to the cards, or to an expression that the server hasn't read yet.
  add(sampler) {
    const { cards, chain } = this.text;
    if (cards) this.editor.add(sampler);
    else if (chain.stages) { setChain(this.text, { ...chain, stages: [...chain.stages, ...written([fresh(sampler)])] }); this.page.changed(); }
    else this.setExpression([chain.sampler, sampler.expression].filter((each) => each.trim()).join(" | "));
  }

  refresh() {
    const { text } = this;
    this.mark();
    return ask(text, this.source, (reply) => { if (reply) this.show(reply); this.mark(); });
  }

  // Mark what is old, what is on its way, and what is on.
  mark() {
    const { text } = this;
    this.part("panel").classList.toggle("old", !isShown(text));
    this.part("next").setAttribute("aria-busy", String(!isAnswered(text)));
    this.part("cards").inert = !text.cards;
    this.part("draws").setAttribute("aria-pressed", String(text.draws > 0));
    this.part("ahead-open").setAttribute("aria-pressed", String(text.ahead !== null));
  }

  show(reply) {
    const { text, editor } = this, expression = this.part("expression");
    byId("prompt-error").textContent = reply.param === "prompt" ? reply.error : "";
    this.part("expression-error").textContent = text.error;
    if (!reply.chain) {
      if (text.error && !isAnswered(text)) this.page.changed(); // to the chain before
      return;
    }
    if (document.activeElement !== expression && !text.error) expression.value = reply.chain.expression;
    editor.context.vocabulary = reply.vocabulary;
    text.cards ??= editor.show(reply.chain.stages, text.chain.off);
    editor.read(reply.chain.stages, text.chain === null);
    this.columns.show(reply);
    showArithmetic(this.part("arithmetic"), reply.arithmetic, reply.columns[text.stage], reply.unit, () => this.openArithmetic(null));
    this.showDraws(reply);
    this.showAhead();
    this.part("chain-error").textContent = reply.error ?? "";
    this.part("chain-notes").textContent = reply.notes.join(" ");
    editor.mark(reply.error ? [reply.error, ...reply.notes] : reply.notes);
    this.showMean(reply);
    this.page.answered(reply);
    if (text.tree.branches.some((leaf) => leaf.text === null)) this.readBranches();
  }

  openArithmetic(at) {
    const closes = at === null || at === this.text.stage;
    this.text.stage = closes ? null : at;
    if (closes) this.part("columns").querySelector("thead .name").focus({ preventScroll: true });
    this.page.changed();
  }

  toggleAhead() {
    this.text.ahead = this.text.ahead ? null : { paths: null, at: this.text.tree.ids() };
    this.mark();
    this.showAhead();
    this.page.remember();
  }

  // Show what could follow the caret; where the text has gone on, the opened words from there on.
  async showAhead() {
    const { text } = this, { ahead } = text, box = this.part("ahead");
    box.hidden = !ahead;
    if (!ahead) return;
    const ids = text.tree.ids();
    Object.assign(ahead, { at: ids, paths: after(ahead.paths, ahead.at, ids) });
    box.setAttribute("aria-busy", "true");
    const reply = await watched("tree", () => post("/api/tree", { ...place(text), paths: ahead.paths }));
    if (!reply || text.ahead !== ahead || ahead.at !== ids) return;
    box.setAttribute("aria-busy", "false");
    this.ahead.show(reply.nodes);
    ahead.paths = this.ahead.paths;
    this.page.remember();
  }

  showDraws({ draws, tokens, unit }) {
    const listed = tokens.reduce((sum, token) => sum + token.count, 0);
    this.part("draws-note").hidden = !draws;
    this.part("draws-note").textContent = `The number in parentheses and the mark on a bar are ${draws} draws of this ${unit}, as the samples 0 to ${draws - 1} of a run draw it; ${draws - listed} of them are ${unit}s that are not listed.`;
  }

  // A link has the ids of a branch; its words are the server's.
  async readBranches() {
    const { text } = this, { tree } = text;
    for (const leaf of tree.branches.filter((each) => each.text === null)) {
      const body = { ...place(text, leaf, { sampler: "" }), count: 1 };
      const reply = await watched("branches", () => insist("branches", new AbortController().signal, (attempt) => post("/api/next", body, attempt)));
      if (this.text.tree !== tree || !reply?.words) return;
      tree.path(leaf).forEach((node, at) => Object.assign(node, reply.words[at]));
    }
    this.page.showTexts();
  }

  // What can be compared with human text is the surprisal of a whole text, as in reports.
  showMean({ surprisal, averaged, human, unit, largest_entropy: largest }) {
    this.part("mean").hidden = surprisal === null;
    const people = human ? `human text: ${human.mean.toFixed(2)}` : "";
    const shown = this.part("mean-text"), mark = this.part("mean-human");
    mark.hidden = !human;
    mark.textContent = people;
    shown.textContent = `mean surprisal of ${averaged === 1 ? `the ${unit}` : `these ${count(averaged)} ${unit}s`}: ${(surprisal ?? 0).toFixed(2)} nats`;
    shown.dataset.surprisal = String(surprisal);
    this.strip.show(surprisal ?? 0, largest, human, `${shown.textContent}${human ? `; ${people}` : ""}`);
  }

  // The server draws the picture, so that it is the one of corelm.plot.explanation.
  async savePicture(form) {
    await watched("picture", async () => {
      download(`corelm-play.${form}`, await file("/api/picture", { ...place(this.text), form }));
    });
  }

  // Forget what is shown: another state was opened.
  reset() {
    notice(this.source, null);
    this.part("expression-error").textContent = "";
    this.part("expression").value = this.text.chain.sampler ?? "";
    if (document.activeElement === this.part("expression")) document.activeElement.blur();
  }
}

// Copy elements for the second chain: their ids, and what refers to them, get the suffix, and
// their labels its name.
export function copied(element, suffix, name) {
  const copy = element.cloneNode(true);
  for (const each of [copy, ...copy.querySelectorAll("*")]) {
    for (const [attribute, end] of Object.entries({ id: suffix, "aria-labelledby": suffix, "aria-describedby": suffix, "aria-label": ` (${name})` })) {
      if (each.hasAttribute(attribute)) each.setAttribute(attribute, each.getAttribute(attribute) + end);
    }
    if (each.matches(".which")) each.textContent = name;
  }
  element.after(copy);
  return copy;
}
