// One chain and its text as the page shows them: cards, expression, columns, words.

import { after, AheadView } from "./ahead.js";
import { file, latest, post } from "./api.js";
import { ArithmeticView } from "./arithmetic.js";
import { ChainEditor } from "./chain.js";
import { ColumnsView, Strip } from "./columns.js";
import { byId, count, debounced, h, whenChosen } from "./dom.js";
import { notice, watched } from "./notices.js";
import { expressionOf, place, state } from "./state.js";
import * as away from "./take.js";
import { WordsView } from "./words.js";

const NO_CHAIN = { sampler: null, stages: null };
const DRAWS = 100;
const LISTED = 8; // likely words, of the model and of the chain
const NOTES_AFTER = 150; // ms: notes take longer than the bars, which must keep up with a slider

export class Side {
  // `offered` is the server's list of samplers and presets; `page` has the actions of the page.
  constructor(at, suffix, offered, page) {
    this.at = at;
    this.page = page;
    this.part = (id) => byId(id + suffix);
    this.askNext = latest("/api/next");
    this.askChain = latest("/api/chain");
    const alternatives = latest("/api/next");
    this.editor = new ChainEditor(this.part("cards"), offered.samplers, () => page.changed(this, { stages: this.editor.active }));
    this.columns = new ColumnsView(this.part("columns"), (token) => page.take(this, null, token), (at) => this.openArithmetic(at));
    this.arithmetic = new ArithmeticView(this.part("arithmetic"), () => this.openArithmetic(null));
    this.askTree = latest("/api/tree");
    this.ahead = new AheadView(this.part("ahead").querySelector("ul"), {
      take: (words) => page.goOn(this, words),
      opened: (paths) => { this.text.ahead.paths = paths; this.showAhead(); },
    });
    this.draws = 0; // at this place, beside the theory
    this.stage = null; // whose arithmetic is shown
    this.words = new WordsView(this.part("words"), {
      levels: offered.levels,
      alternatives: (node) => alternatives({ ...place(this.text, node.parent), count: 8 }),
      take: (node, word) => page.take(this, node, word),
      goTo: (node) => { this.text.tree.goTo(node.parent); page.changed(this); },
      type: (text) => page.type(this, text),
    });
    this.strip = new Strip();
    this.part("mean-strip").append(this.strip.box);
    this.askNotes = debounced(NOTES_AFTER, () => this.showNotes());
    this.connect(offered);
  }

  connect({ samplers, presets }) {
    const expression = this.part("expression");
    this.readExpression = debounced(NOTES_AFTER, () => this.page.changed(this, { sampler: expression.value }));
    expression.addEventListener("input", this.readExpression);
    expression.addEventListener("change", () => this.readExpression.flush()); // Tab may come sooner
    this.part("add").replaceChildren(h("option", { value: "" }, `Add one of ${count(samplers.length)} samplers…`),
      ...samplers.map((each) => h("option", { value: each.name, title: each.help }, `${each.name}: ${each.help}`)));
    this.part("preset").replaceChildren(h("option", { value: "" }, "As an engine does…"),
      ...Object.entries(presets).map(([name, value]) => h("option", { value }, name)));
    whenChosen(this.part("add"), (name) => this.editor.add(name));
    whenChosen(this.part("preset"), (sampler) => this.page.changed(this, { sampler }));
    this.part("paste-open").addEventListener("click", () => this.page.paste(this));
    this.part("draws").addEventListener("click", () => this.toggleDraws());
    this.part("ahead-open").addEventListener("click", () => this.toggleAhead());
    this.part("next-title").after(saveMenu("the next word", [ // of shared.js
      ...["SVG", "PDF", "PNG"].map((form) => [form, form === "PNG" ? "picture" : "vector picture", () => this.savePicture(form.toLowerCase())]),
      ["CSV", "its data", () => away.download("corelm-play.csv", away.csv(this.text.answer), "text/csv")],
    ]));
  }

  get text() {
    return state.sides[this.at];
  }

  // Ask for the next word with a chain; one that can't be read is reported, and the last one stays.
  async refresh(chain = this.text.chain) {
    const { text } = this, path = text.tree.path();
    this.setBusy(true);
    const reply = await watched("next", () => this.askNext({ ...place(text), ...NO_CHAIN, ...chain, count: LISTED, draws: this.draws, stage: this.stage }));
    if (!reply) return;
    this.setBusy(false);
    this.page.showPromptError(reply.param === "prompt" ? reply.error : "");
    this.part("expression-error").textContent = reply.chain || reply.param ? "" : reply.error;
    if (!reply.chain) return;
    path.forEach((node, at) => Object.assign(node, reply.words[at]));
    text.answer = reply;
    text.chain = chain;
    this.show(reply);
  }

  setBusy(is) {
    this.part("next").setAttribute("aria-busy", String(is));
  }

  show(reply) {
    const { text, editor } = this, expression = this.part("expression");
    if (document.activeElement !== expression) expression.value = reply.chain.expression;
    editor.context.vocabulary = reply.vocabulary;
    if (!text.chain.stages) this.showStages(reply.chain.stages);
    editor.read(reply.chain.stages);
    this.columns.show(reply);
    this.arithmetic.show(reply.arithmetic, reply.columns[this.stage]);
    this.showDraws(reply);
    this.showAhead();
    this.part("chain-error").textContent = reply.error ?? "";
    editor.mark(reply.error ? [reply.error] : []);
    this.askNotes();
    this.showMean(reply);
    this.page.showWords();
    this.page.answered();
    if (text.tree.branches.some((leaf) => leaf.text === null)) this.readBranches();
  }

  openArithmetic(at) {
    const closes = at === null || at === this.stage;
    this.stage = closes ? null : at;
    if (closes) this.part("columns").querySelector("thead .name").focus({ preventScroll: true });
    this.refresh();
  }

  toggleAhead() {
    this.text.ahead = this.text.ahead ? null : { paths: null, at: this.text.tree.ids() };
    this.showAhead();
    this.page.answered();
  }

  // Show what could follow the caret; where the text has gone on, the opened words from there on.
  async showAhead() {
    const { text } = this, { ahead } = text;
    this.part("ahead").hidden = !ahead;
    this.part("ahead-open").setAttribute("aria-pressed", String(ahead !== null));
    if (!ahead) return;
    const ids = text.tree.ids();
    Object.assign(ahead, { at: ids, paths: after(ahead.paths, ahead.at, ids) });
    const reply = await watched("tree", () => this.askTree({ ...place(text), paths: ahead.paths }));
    if (!reply || text.ahead !== ahead || ahead.at !== ids) return;
    this.ahead.show(reply.nodes);
    ahead.paths = this.ahead.paths;
    this.page.answered();
  }

  toggleDraws() {
    this.draws = this.draws ? 0 : DRAWS;
    this.part("draws").setAttribute("aria-pressed", String(this.draws > 0));
    this.refresh();
  }

  showDraws({ draws, tokens }) {
    const listed = tokens.reduce((sum, token) => sum + token.count, 0);
    this.part("draws-note").hidden = !draws;
    this.part("draws-note").textContent = `The number in parentheses and the mark on a bar are ${draws} draws of this word, as the samples 0 to ${draws - 1} of a run draw it; ${draws - listed} of them are words that are not listed.`;
  }

  // Show what the server has read as cards; some of a link are switched off.
  showStages(stages) {
    const { text, editor } = this;
    editor.show(stages, text.off);
    text.stages = editor.stages;
    text.chain = { stages: editor.active };
    if (text.off.length) this.page.changed(this);
    text.off = [];
  }

  // A link has the ids of a branch; its words are the server's.
  async readBranches() {
    const { text } = this, { tree } = text;
    for (const leaf of tree.branches.filter((each) => each.text === null)) {
      const reply = await watched("branches", () => post("/api/next", { ...place(text, leaf), ...NO_CHAIN, sampler: "", count: 1 }));
      if (this.text.tree !== tree || !reply?.words) return;
      tree.path(leaf).forEach((node, at) => Object.assign(node, reply.words[at]));
    }
    this.page.showWords();
  }

  // What can be compared with human text is the surprisal of a whole text, as in reports.
  showMean({ surprisal, averaged, human, largest_entropy: largest }) {
    this.part("mean").hidden = surprisal === null;
    const people = human ? `human text: ${human.mean.toFixed(2)}` : "";
    const shown = this.part("mean-text"), mark = this.part("mean-human");
    mark.hidden = !human;
    mark.textContent = people;
    shown.textContent = `mean surprisal of ${averaged === 1 ? "the word" : `these ${count(averaged)} words`}: ${(surprisal ?? 0).toFixed(2)} nats`;
    shown.dataset.surprisal = String(surprisal);
    this.strip.show(surprisal ?? 0, largest, human, `${shown.textContent}${human ? `; ${people}` : ""}`);
  }

  async showNotes() {
    const { answer } = this.text;
    if (!answer) return; // another state was opened
    const reply = await watched("notes", () => this.askChain({ sampler: expressionOf(this.text) }));
    if (!reply || answer !== this.text.answer) return;
    const notes = reply.notes ?? [];
    this.part("chain-notes").textContent = notes.join(" ");
    this.editor.mark([...(answer.error ? [answer.error] : []), ...notes]);
  }

  // The server draws the picture, so that it is the one of corelm.plot.explanation.
  async savePicture(form) {
    await watched("picture", async () => {
      away.download(`corelm-play.${form}`, await file("/api/picture", { ...place(this.text), form }));
    });
  }

  // Forget what is shown: another state was opened.
  reset() {
    this.askNotes.cancel();
    notice("next", null);
    this.part("expression-error").textContent = "";
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
