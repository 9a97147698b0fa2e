// The page: its state, and what each control does to it. Every number shown is the server's.

import { file, get, latest, post } from "./api.js";
import { BRANCH, showBranches } from "./branches.js";
import { ChainEditor } from "./chain.js";
import { ColumnsView, Strip } from "./columns.js";
import { announce, byId, count, debounced, h, inTurn, isTyping, whenChosen } from "./dom.js";
import * as away from "./take.js";
import { Tour } from "./tour.js";
import { partsAt, Tree } from "./tree.js";
import { WordsView } from "./words.js";

const LONGEST = 100; // words of "draw to the end"
const PIECE = 10; // words of one request, between which it can be stopped
const ANCESTRAL = "ancestral"; // is how words are drawn anyway
const NO_CHAIN = { sampler: null, stages: null };

const state = { model: "", prompt: "this movie is", seed: 1, decoder: "", sides: [newSide(), newSide()], at: 0, compare: false };
let editor, columns, words, mean, answer, stopped = true;
const askNext = latest("/api/next");
const askAlternatives = latest("/api/next");
const askChain = latest("/api/chain");
const askSettings = latest("/api/chain");

function newSide() {
  return { chain: { sampler: "temperature(t=0.7)" }, expression: "", cards: null, tree: new Tree() };
}

const side = () => state.sides[state.at];
const shownSides = () => (state.compare ? state.sides : [side()]);
const place = (one, node = one.tree.at) => ({
  model: state.model, prompt: state.prompt, tokens: one.tree.ids(node), seed: state.seed, ...one.chain,
});

// ---- the next word ----

// Ask for the next word with a chain; one that can't be read is told, and the last one stays.
async function refresh(chain = side().chain) {
  const one = side();
  byId("next").setAttribute("aria-busy", "true");
  let found;
  try {
    found = await askNext({ ...place(one), ...NO_CHAIN, ...chain });
  } catch (error) {
    if (error.name === "AbortError") return;
    fail(error);
    return;
  }
  byId("failure").hidden = true;
  byId("prompt-error").textContent = found.param === "prompt" ? found.error : "";
  byId("expression-error").textContent = found.chain || found.param ? "" : found.error;
  byId("next").setAttribute("aria-busy", "false");
  if (!found.chain) return;
  one.chain = chain;
  showAnswer(one, found);
}

function showAnswer(one, found) {
  answer = found;
  one.expression = found.chain.expression;
  one.tree.path().forEach((node, at) => { Object.assign(node, found.words[at]); });
  if (document.activeElement !== byId("expression")) byId("expression").value = found.chain.expression;
  if (!one.chain.stages) {
    editor.show(found.chain.stages);
    one.chain = { stages: editor.active };
  }
  one.cards = editor.stages;
  editor.context.vocabulary = found.vocabulary;
  editor.mark([], found.error);
  askNotes(found);
  byId("chain-error").textContent = found.error ?? "";
  byId("largest").textContent = found.largest_entropy.toFixed(2);
  byId("position").textContent = `word ${found.position + 1}`;
  columns.show(found);
  showMean(found);
  showText();
}

// What can be compared with human text is the surprisal of a whole text, as in reports.
function showMean({ surprisal, human, position, largest_entropy: largest }) {
  byId("mean").hidden = surprisal === null;
  byId("human-note").hidden = byId("mean-human").hidden = human === null;
  const people = human ? `human text: ${human.mean.toFixed(2)}` : "";
  byId("mean-human").textContent = people;
  byId("human-note").textContent = human ? `The upright mark is human text: its mean surprisal is ${human.mean.toFixed(2)} nats a token (95 % interval ${human.low.toFixed(2)} to ${human.high.toFixed(2)}), over many places. One place is easier or harder to guess than the mean, so compare a whole text: the strip under it.` : "";
  const said = `${state.compare ? `${"AB"[state.at]}: ` : ""}mean surprisal of ${position === 1 ? "the word" : `these ${count(position)} words`}: ${(surprisal ?? 0).toFixed(2)} nats`;
  byId("mean-text").textContent = said;
  byId("mean-text").dataset.surprisal = String(surprisal);
  mean.show(surprisal ?? 0, largest, human, `${said}${human ? `; ${people}` : ""}`);
}

function showText() {
  const [one, other] = state.sides;
  const parted = state.compare ? partsAt(one.tree.path(one.tree.end), other.tree.path(other.tree.end)) : null;
  shownSides().forEach((each) => words[state.sides.indexOf(each)].show(each.tree, parted));
  showBranches(byId("branches"), side().tree, (node) => { side().tree.follow(node); refresh(); });
  byId("undo").disabled = side().tree.at === side().tree.root;
}

function fail(error) {
  byId("next").setAttribute("aria-busy", "false");
  byId("failure").textContent = error.message;
  byId("failure").hidden = false;
}

// Notes take longer than the bars, which must keep up with a slider.
const askNotes = debounced(150, async (shown) => {
  try {
    const { notes } = await askChain({ sampler: shown.chain.expression });
    if (shown === answer) editor.mark(notes, shown.error);
  } catch (error) {
    if (error.name !== "AbortError") fail(error);
  }
});

// ---- the text ----

async function draw(length, more = {}) {
  await Promise.all(shownSides().map(async (one) => {
    const found = await post("/api/write", { ...place(one), length, ...more });
    for (const word of found.words) one.tree.take(word);
    one.ended = found.ended;
  }));
}

// Each press draws a word, however fast they come; a prompt that is being typed is read first.
async function drawOne() {
  try {
    readPrompt();
    await draw(1);
    const drawn = side().tree.at;
    announce(`drawn: ${drawn.text}`);
    await refresh();
  } catch (error) {
    fail(error);
  }
}

async function drawToEnd() {
  readPrompt();
  stopped = false;
  byId("stop").hidden = false;
  byId("write").hidden = true;
  try {
    if (state.decoder) await draw(LONGEST, { decoder: state.decoder }); // which may look ahead
    else for (let drawn = 0; drawn < LONGEST && !stopped; drawn += PIECE) {
      await draw(PIECE);
      showText();
      if (shownSides().every((one) => one.ended)) break;
    }
  } catch (error) {
    fail(error);
  }
  stopped = true;
  byId("stop").hidden = true;
  byId("write").hidden = false;
  await refresh();
}

function take(one, node, word) {
  if (node) one.tree.goTo(node.parent);
  one.tree.take(word);
  announce(`taken: ${word.text}`);
  refresh();
}

// Words of one's own, from the caret on: a branch like any other.
async function typeOn(one, text) {
  try {
    const spaced = /^[\s.,;:!?')\]]/.test(text) ? text : ` ${text}`;
    const { tokens } = await post("/tokenize", { model: state.model, prompt: spaced });
    for (const id of tokens) one.tree.take({ id, text: "" });
    await refresh();
  } catch (error) {
    fail(error);
  }
}

function readPrompt() {
  if (state.prompt === byId("prompt").value) return;
  state.prompt = byId("prompt").value;
  restart();
}

function restart() {
  for (const one of state.sides) one.tree = new Tree();
  refresh();
}

// A new seed begins again from the prompt: its numbers belong to places in the text.
function setSeed(seed) {
  state.seed = seed;
  byId("seed").value = String(seed);
  for (const one of state.sides) one.tree.at = one.tree.root;
  refresh();
}

// ---- the chain ----

async function usePasted() {
  try {
    const found = await askSettings({ settings: byId("paste-text").value });
    byId("paste-error").textContent = found.error ?? "";
    if (found.error) return;
    byId("paste").close();
    refresh({ sampler: found.expression });
  } catch (error) {
    byId("paste-error").textContent = error.message;
  }
}

function choose(at) {
  state.at = at;
  for (const radio of document.getElementsByName("side")) radio.checked = Number(radio.value) === at;
  byId("next-side").textContent = state.compare ? `of ${"AB"[at]}` : "";
  const one = side();
  if (one.cards) { editor.stages = one.cards; editor.draw(); }
  byId("expression").value = one.expression;
  refresh();
}

function compare(on) {
  state.compare = on;
  byId("compare").setAttribute("aria-pressed", String(on));
  byId("sides").hidden = !on;
  document.querySelectorAll(".side").forEach((box, at) => {
    box.hidden = !on && at !== 0;
    box.querySelector("h3").hidden = !on;
  });
  if (on && !state.sides[1].cards) {
    state.sides[1] = { ...newSide(), chain: { sampler: side().expression || "stochastic" } };
    const tokens = side().tree.path();
    for (const node of tokens) state.sides[1].tree.take(node);
  }
  choose(on ? 1 : 0);
}

// ---- take away, and open again ----

function saved() {
  return {
    model: state.model, prompt: state.prompt, seed: state.seed, decoder: state.decoder, compare: state.compare, at: state.at,
    sides: shownSides().map((one) => ({ sampler: one.expression, tokens: one.tree.ids() })),
  };
}

function open(found) {
  if (typeof found !== "object" || found === null) throw new Error("this is no state of corelm play");
  const sides = Array.isArray(found.sides) ? found.sides : [{ sampler: found.sampler, tokens: [] }];
  state.prompt = typeof found.prompt === "string" ? found.prompt : state.prompt;
  state.seed = Number.isSafeInteger(found.seed) && found.seed >= 0 ? found.seed : state.seed;
  if ([...byId("model").options].some((each) => each.value === found.model)) state.model = found.model;
  sides.slice(0, 2).forEach((each, at) => {
    const one = (state.sides[at] = newSide());
    if (typeof each?.sampler === "string") one.chain = { sampler: each.sampler };
    for (const id of Array.isArray(each?.tokens) ? each.tokens : []) if (Number.isInteger(id)) one.tree.take({ id, text: "" });
  });
  if ([...byId("decoder").options].some((each) => each.value === found.decoder)) state.decoder = found.decoder;
  byId("decoder").value = state.decoder;
  byId("model").value = state.model;
  byId("prompt").value = state.prompt;
  byId("seed").value = String(state.seed);
  if (found.compare === true && sides.length > 1) {
    state.sides[1].cards = [];
    compare(true);
    state.sides[1].cards = null;
  } else refresh();
}

function showTaken() {
  const form = document.querySelector("input[name=form]:checked").value;
  const length = Math.max(side().tree.path().length, 20);
  byId("take-text").value = {
    command: () => away.command(state, side().expression, length),
    python: () => away.program(state, side().expression, length),
    expression: () => side().expression,
    link: () => away.link(saved()),
  }[form]();
  byId("take-note").textContent = form === "link"
    ? "The link holds the whole state behind the #, which no browser sends to a server. It opens where corelm play runs at this address."
    : form === "expression" ? "" : "It draws the text from the prompt on; words that you took by hand are in the link and the file.";
}

// The server draws the picture, so that it is the one of corelm.plot.explanation.
async function savePicture(form) {
  try {
    away.download(`corelm-play.${form}`, await file("/api/picture", { ...place(side()), form }));
  } catch (error) {
    fail(error);
  }
}

async function openFile(file) {
  try {
    open(JSON.parse(await file.text()));
    byId("take").close();
  } catch (error) {
    byId("take-note").textContent = `${file.name} can't be opened: ${error.message}`;
  }
}

// ---- start ----

function connect() {
  const on = (id, work, event = "click") => byId(id).addEventListener(event, work);
  on("draw", inTurn(drawOne));
  on("write", drawToEnd);
  on("stop", () => { stopped = true; });
  on("undo", () => { for (const one of shownSides()) one.tree.undo(); refresh(); });
  on("restart", restart);
  on("new-seed", () => setSeed(Math.floor(Math.random() * 1e6)));
  on("seed", (e) => { if (/^\d{1,15}$/.test(e.target.value.trim())) setSeed(Number(e.target.value)); else e.target.value = state.seed; }, "change");
  on("prompt", debounced(200, readPrompt), "input");
  on("decoder", (e) => { state.decoder = e.target.value; }, "change");
  on("model", (e) => { state.model = e.target.value; restart(); }, "change");
  on("expression", debounced(150, () => refresh({ sampler: byId("expression").value })), "input");
  on("expression", () => { byId("expression").value = side().expression; }, "blur");
  whenChosen(byId("add"), (name) => editor.add(name));
  whenChosen(byId("preset"), (expression) => refresh({ sampler: expression }));
  on("compare", () => compare(!state.compare));
  for (const radio of document.getElementsByName("side")) radio.addEventListener("change", () => choose(Number(radio.value)));
  on("paste-open", () => { byId("paste-error").textContent = ""; byId("paste").showModal(); });
  on("paste-use", usePasted);
  on("paste-close", () => byId("paste").close());
  on("take-open", () => { showTaken(); byId("take").showModal(); });
  on("take-close", () => byId("take").close());
  on("take-copy", (e) => away.copy(e.target, byId("take-text").value));
  on("take-save", () => away.download("corelm-play.json", JSON.stringify(saved(), null, 1), "application/json"));
  on("take-file", (e) => { if (e.target.files[0]) openFile(e.target.files[0]); e.target.value = ""; }, "change");
  byId("next-title").after(saveMenu("the next word", [ // of shared.js
    ...["SVG", "PDF", "PNG"].map((form) => [form, form === "PNG" ? "picture" : "vector picture", () => savePicture(form.toLowerCase())]),
    ["CSV", "its data", () => away.download("corelm-play.csv", away.csv(answer), "text/csv")],
  ]));
  for (const radio of document.getElementsByName("form")) radio.addEventListener("change", showTaken);
  rove(byId("branches").querySelector("ul"), BRANCH); // of shared.js
  rove(byId("alternatives"), "button");
  const tour = new Tour((stages) => refresh(chainOf(stages)));
  on("tour-open", () => tour.go(0));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target) || document.querySelector("dialog[open]")) return;
    const key = { d: "draw", e: "write", u: "undo", n: "new-seed" }[event.key];
    if (key) byId(key).click();
  });
}

const chainOf = (stages) => ({ sampler: stages.map(({ name, parameters }) => {
  const given = Object.entries(parameters).map(([key, value]) => `${key}=${value}`);
  return given.length ? `${name}(${given.join(", ")})` : name;
}).join(" | ") });

async function start() {
  const [offered, models] = await Promise.all([get("/api/samplers"), get("/v1/models")]);
  byId("model").replaceChildren(...models.data.map((each) => h("option", { value: each.id }, each.id)));
  state.model = models.data[0].id;
  byId("add").replaceChildren(h("option", { value: "" }, `Add one of ${count(offered.samplers.length)} samplers…`),
    ...offered.samplers.map((each) => h("option", { value: each.name, title: each.help }, `${each.name}: ${each.help}`)));
  byId("preset").replaceChildren(h("option", { value: "" }, "As an engine does…"),
    ...Object.entries(offered.presets).map(([name, expression]) => h("option", { value: expression }, name)));
  const decoders = offered.decoders.filter((each) => each.name !== ANCESTRAL);
  byId("decoders").hidden = !decoders.length;
  byId("decoder").replaceChildren(h("option", { value: "" }, "one draw after the other"),
    ...decoders.map((each) => h("option", { value: each.name }, `${each.name}: ${each.help}`)));
  editor = new ChainEditor(byId("cards"), offered.samplers, () => refresh({ stages: editor.active }));
  mean = new Strip();
  byId("mean").lastElementChild.append(mean.box);
  columns = new ColumnsView(byId("columns"), (token) => take(side(), null, token));
  words = state.sides.map((_, at) => new WordsView(document.querySelector(`.side[data-side="${at}"] .words`), {
    alternatives: (node) => askAlternatives({ ...place(state.sides[at], node.parent), count: 8 }),
    take: (node, word) => take(state.sides[at], node, word),
    goTo: (node) => { state.sides[at].tree.goTo(node.parent); refresh(); },
    type: (text) => typeOn(state.sides[at], text),
  }));
  connect();
  let first = {};
  try {
    first = location.hash.length > 1 ? JSON.parse(decodeURIComponent(location.hash.slice(1))) : {};
  } catch {
    fail(new Error("The link is damaged: its state can't be read."));
  }
  open({ sampler: "temperature(t=0.7)", ...first });
}

start().catch(fail);
