// The page: what each control does to the state. Every number shown is the server's.

import { get, insist, post } from "./api.js";
import { BRANCH, showBranches } from "./branches.js";
import { enterClass } from "./class.js";
import { announce, byId, debounced, h, isTyping, nameUnit, pause, visible } from "./dom.js";
import { Guide } from "./guide.js";
import { fromSaved, isSeed, NO_SEED, ofFragment, toFragment, toSaved } from "./link.js";
import { notice, watched } from "./notices.js";
import { first } from "./server.js";
import { copied, Side } from "./side.js";
import { isShown, newSide, place, shownSides, state } from "./state.js";
import { Away } from "./take.js";
import { partsAt, Tree } from "./tree.js";

const LONGEST = 100; // words of "draw to the end"
const PIECE = 10; // words of one request at most
const PATIENCE = 80; // ms that a request may take: a slow model shows its words one by one
const BETWEEN = 15; // ms from word to word, however many come at once
const ANCESTRAL = "ancestral"; // is how words are drawn anyway
const B = "-b"; // ends the ids of the second chain's elements

const offered = { models: [], decoders: [], facts: {} };
let views = [], pasteFor, guide, away, fragment = ""; // of the address, as last read or written
let draws = new AbortController(), lastDraw = Promise.resolve(), typed = lastDraw;

const shownViews = () => views.slice(0, shownSides().length);

// ---- every change ----

// Ask for the state after a change, after a pause while somebody types. Draws on their way, which
// belong to the state before, are dropped.
function changed(isTyped = false) {
  dropDraws();
  for (const view of shownViews()) { view.words.close(); view.mark(); }
  remember();
  return isTyped ? refreshSoon() : refresh();
}

function dropDraws() {
  draws.abort();
  draws = new AbortController();
  lastDraw = Promise.resolve();
  showDrawing(false);
}

// Show a text that has changed.
function moved(isTyped = false) {
  showTexts();
  return changed(isTyped);
}

function refresh() {
  refreshSoon.cancel();
  return Promise.all(shownViews().map((view) => view.refresh()));
}

const refreshSoon = debounced(200, refresh);

// The address has the state, so that reloading, going back and a copied link keep it.
const remember = debounced(100, () => {
  if (location.hash !== fragment) return; // a link that waits to be opened
  history.replaceState(null, "", toFragment(toSaved(state)));
  fragment = location.hash;
});

// ---- what is shown ----

// A link has ids alone: their texts are on the way.
const hasEnded = ({ tree }) => offered.facts[state.model].ends.includes(tree.at.id);

function showTexts() {
  const sides = shownSides(), parted = state.compare ? partsAt(...sides.map(({ tree }) => tree.path(tree.end))) : null;
  for (const view of shownViews()) {
    view.words.show(view.text.tree, parted);
    showBranches(view.part("branches"), view.text.tree, (node) => { view.text.tree.follow(node); moved(); });
    view.mark();
  }
  const places = sides.map(({ tree }) => (tree.at.text === null ? "…" : `${offered.facts[state.model].unit} ${tree.path().length + 1}`)); // null is on its way
  byId("position").textContent = [...new Set(places)].join(" and ");
  const over = sides.every(hasEnded);
  byId("ended").hidden = !over;
  for (const id of ["draw", "write"]) byId(id).setAttribute("aria-disabled", String(over));
  byId("undo").disabled = sides.every(({ tree }) => tree.at === tree.root);
  byId("redo").disabled = sides.every(({ tree }) => tree.at === tree.end);
}

// Show what follows from the answer to either chain.
function answered(reply) {
  const { human, largest_entropy: largest } = reply;
  byId("largest").textContent = largest.toFixed(2);
  byId("human-note").hidden = !human;
  byId("human-note").textContent = human ? `The upright mark is human text: its mean surprisal is ${human.mean.toFixed(2)} nats a token (95 % interval ${human.low.toFixed(2)} to ${human.high.toFixed(2)}), over many places. One place is easier or harder to guess than the mean, so compare a whole text: the strip under it.` : "";
  showTexts();
  away.show();
}

function showControls() {
  nameUnit(offered.facts[state.model].unit);
  for (const name of ["model", "prompt", "decoder"]) byId(name).value = state[name];
  byId("seed").value = String(state.seed);
  byId("chat").checked = state.chat;
  byId("chat-choice").hidden = !offered.facts[state.model].chat;
  byId("compare").setAttribute("aria-pressed", String(state.compare));
  document.querySelector("main").classList.toggle("two", state.compare);
}

// ---- the text ----

// Draw on all sides; `afterEach` is called after each word, and waited for.
async function draw(length, signal, more = {}, afterEach = () => {}) {
  const sides = shownSides();
  const replies = await Promise.all(sides.map((one) =>
    insist("draw", signal, (attempt) => post("/api/write", { ...place(one), length, ...more }, attempt))));
  signal.throwIfAborted();
  for (let at = 0; replies.some(({ words }) => at < words.length) && !signal.aborted; at++) {
    sides.forEach(({ tree }, side) => { if (replies[side].words[at]) tree.take(replies[side].words[at]); });
    await afterEach();
  }
}

// Do a draw after the others, from a state that is shown.
function addDraw(work, isLong = false) {
  if (shownSides().every(hasEnded)) return announce(byId("ended").textContent);
  if (isLong) showDrawing(true);
  const { signal } = draws;
  lastDraw = Promise.all([lastDraw, typed]).then(async () => {
    if (!signal.aborted) await refresh();
    if (signal.aborted) return;
    if (shownSides().every(isShown)) await watched("draw", () => work(signal));
    else announce(shownSides().map(({ error }) => error).join(" "));
    if (signal.aborted) return;
    if (isLong) showDrawing(false);
    showTexts();
    remember();
    remember.flush();
    await refresh();
  });
  return lastDraw;
}

// Each press draws a word, however fast they come.
const drawOne = () => addDraw(async (signal) => {
  await draw(1, signal);
  announce(`drawn: ${state.sides[0].tree.at.text}`);
});

const drawToEnd = () => addDraw((signal) => (state.decoder ? draw(LONGEST, signal, { decoder: state.decoder }) : drawPieces(signal)), true);

async function drawPieces(signal) {
  for (let left = LONGEST, piece = 1; left > 0 && !signal.aborted && !shownSides().every(hasEnded);) {
    const start = performance.now();
    let asked = 0; // ms until the words were there
    await draw(piece, signal, {}, async () => {
      asked ||= performance.now() - start;
      showTexts();
      await pause(BETWEEN);
    });
    remember(); // reloading keeps the words so far
    remember.flush();
    left -= piece;
    const fits = (piece * PATIENCE) / asked;
    piece = Math.max(1, Math.min(PIECE, left, Math.floor(fits)));
  }
}

function showDrawing(is) {
  const hadFocus = [byId("stop"), byId("write")].includes(document.activeElement);
  byId("stop").hidden = !is;
  byId("write").hidden = is;
  if (hadFocus) byId(is ? "stop" : "write").focus();
}

function take(view, node, word) {
  const { tree } = view.text;
  if (!node && hasEnded(view.text)) return announce(byId("ended").textContent);
  if (node) tree.goTo(node.parent);
  return goOn(view, [word]);
}

// Append words that the server has listed.
function goOn(view, words) {
  for (const word of words) view.text.tree.take(word);
  announce(`taken: ${words.map(visible).join(" ")}`);
  return moved();
}

// Words of one's own, from the caret on: a branch like any other. What follows waits for their ids.
function type(view, text) {
  const { tree } = view.text, { at } = tree;
  if (hasEnded(view.text)) return announce(byId("ended").textContent);
  dropDraws();
  typed = watched("draw", async () => {
    const spaced = /^[\s.,;:!?')\]]/.test(text) ? text : ` ${text}`;
    const { tokens } = await insist("draw", new AbortController().signal, (attempt) => post("/tokenize", { model: state.model, prompt: spaced }, attempt));
    if (view.text?.tree !== tree || tree.at !== at) return; // the text has changed meanwhile
    for (const id of tokens) tree.take({ id, text: null });
    remember();
    await refresh();
  });
  return typed;
}

function restart(isTyped = false) {
  for (const one of state.sides) one.tree = new Tree();
  moved(isTyped);
}

// A new seed begins again from the prompt: its numbers belong to places in the text.
function setSeed(seed) {
  state.seed = seed;
  byId("seed").value = String(seed);
  for (const { tree } of state.sides) tree.at = tree.root;
  moved();
}

function readSeed({ target }) {
  const seed = /^\d+$/.test(target.value.trim()) ? Number(target.value) : NaN;
  notice("seed", isSeed(seed) ? null : NO_SEED);
  if (isSeed(seed)) setSeed(seed);
  else target.value = state.seed;
}

// Another model gets its own prompt, unless somebody has written one.
function setModel(model) {
  const before = offered.facts[state.model], now = offered.facts[model], isOwn = state.prompt === before.prompt;
  Object.assign(state, { model, chat: now.chat && (isOwn || state.chat), prompt: isOwn ? now.prompt : state.prompt });
  showControls();
  restart();
}

// ---- the chains ----

function compare() {
  state.compare = !state.compare;
  if (state.sides.length === 1) state.sides.push(newSide(fromSaved(toSaved({ ...state, compare: false }), offered).sides[0]));
  showControls();
  moved();
}

function paste(view) {
  pasteFor = view;
  byId("paste-error").textContent = "";
  byId("paste").showModal();
}

async function usePasted() {
  try {
    const { text } = pasteFor, { chain, error } = await post("/api/next", place(text, text.tree.at, { settings: byId("paste-text").value }));
    if (!chain) throw new Error(error);
    byId("paste").close();
    pasteFor.setExpression(chain.expression);
  } catch (error) {
    byId("paste-error").textContent = error.message;
  }
}

// ---- open a state ----

function open(saved) {
  const { sides, notes, ...rest } = fromSaved(saved, offered);
  Object.assign(state, rest, { sides: sides.map(newSide) });
  for (const view of shownViews()) view.reset();
  showControls();
  notice("link", notes.join(" "));
  guide.follow(rest.lesson);
  return moved();
}

// Show the state of a step of the tour or of a lesson; null where a guide is closed.
function showStep(step, lesson) {
  state.lesson = lesson;
  if (step?.saved) open({ model: state.model, ...step.saved, lesson });
  else if (step) views[0].setExpression(step.sampler);
  else remember();
}

function openAddress() {
  remember.cancel();
  fragment = location.hash;
  try {
    open(location.hash.length > 1 ? ofFragment(location.hash) : first);
  } catch (error) {
    if (!state.model) open({});
    notice("link", `The link is damaged: ${error.message}`);
  }
}

// ---- start ----

function connect() {
  const on = (id, work, event = "click") => byId(id).addEventListener(event, work);
  const both = (work) => () => { for (const { tree } of shownSides()) work(tree); moved(); };
  on("draw", drawOne);
  on("write", drawToEnd);
  on("stop", () => changed());
  on("undo", both((tree) => { tree.at = tree.at.parent ?? tree.at; }));
  on("redo", both((tree) => { tree.at = tree.path(tree.end)[tree.path().length] ?? tree.at; }));
  on("restart", () => restart());
  on("new-seed", () => setSeed(Math.floor(Math.random() * 1e6)));
  on("seed", readSeed, "change");
  on("prompt", (e) => { state.prompt = e.target.value; restart(true); }, "input");
  on("decoder", (e) => { state.decoder = e.target.value; remember(); }, "change");
  on("chat", (e) => { state.chat = e.target.checked; restart(); }, "change");
  on("model", (e) => setModel(e.target.value), "change");
  on("compare", compare);
  on("paste-use", usePasted);
  rove(byId("alternatives"), "button"); // of shared.js
  for (const view of views) rove(view.part("branches").querySelector("ul"), BRANCH);
  away = new Away(open, offered.sources);
  guide = new Guide(showStep);
  addEventListener("hashchange", openAddress);
  // A slider that is dragged changes the state too often for the browser's history.
  for (const type of ["click", "input", "change", "keyup", "pagehide"]) {
    addEventListener(type, ({ target }) => { if (type !== "input" || target.type !== "range") remember.flush(); });
  }
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target) || document.querySelector("dialog[open]")) return;
    const key = { d: "draw", e: "write", u: "undo", r: "redo", n: "new-seed" }[event.key];
    if (key && !byId(key).closest("[inert]")) byId(key).click();
  });
}

async function start() {
  const [reply, models] = await Promise.all([get("/api/samplers"), get("/v1/models")]);
  const decoders = reply.decoders.filter((each) => each.name !== ANCESTRAL);
  Object.assign(offered, { models: models.data.map(({ id }) => id), decoders: decoders.map(({ name }) => name), sources: reply.models, facts: reply.facts });
  byId("model").replaceChildren(...offered.models.map((id) => h("option", { value: id }, id)));
  byId("legend").replaceChildren("surprisal ", ...[`under ${reply.levels[0]}`, ...reply.levels].flatMap((each, at) =>
    [h("span", { class: `s${at}` }, at === reply.levels.length ? `${each} nats and more` : String(each)), " "]));
  byId("decoders").hidden = !decoders.length;
  byId("decoder").replaceChildren(h("option", { value: "" }, "one draw after the other"),
    ...decoders.map(({ name, help }) => h("option", { value: name }, `${name}: ${help}`)));
  for (const id of ["panel", "side"]) copied(byId(id), B, "B");
  const page = { changed, moved, take, goOn, type, paste, remember, answered, showTexts };
  views = ["", B].map((suffix, at) => new Side(at, suffix, reply, page));
  connect();
  openAddress();
  enterClass(reply.role);
}

start().catch((error) => notice("start", error.message));
