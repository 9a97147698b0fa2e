// The page: what each control does to the state. Every number shown is the server's.

import { get, latest, post } from "./api.js";
import { BRANCH, showBranches } from "./branches.js";
import { enterClass } from "./class.js";
import { announce, byId, debounced, h, isTyping, pause, visible } from "./dom.js";
import { Draws } from "./draws.js";
import { Guide } from "./guide.js";
import { fromSaved, ofFragment, toFragment, toSaved } from "./link.js";
import { notice, watched } from "./notices.js";
import { copied, Side } from "./side.js";
import { newSide, place, shownSides, state } from "./state.js";
import { Away } from "./take.js";
import { partsAt, Tree } from "./tree.js";

const LONGEST = 100; // words of "draw to the end"
const PIECE = 10; // words of one request at most
const PATIENCE = 80; // ms that a request may take: a slow model shows its words one by one
const BETWEEN = 15; // ms from word to word, however many come at once
const ANCESTRAL = "ancestral"; // is how words are drawn anyway
const B = "-b"; // ends the ids of the second chain's elements

const draws = new Draws();
const offered = { models: [], decoders: [] };
const askSettings = latest("/api/chain");
let views = [], pasteFor, guide, fragment = ""; // of the address, as last read or written

const shownViews = () => views.slice(0, shownSides().length);

// ---- every change ----

// Show the state after a change: of one chain, or of all that is shown. Draws on their way, which
// belong to the state before, are dropped.
function changed(view = null, chain = undefined) {
  draws.stop();
  return refresh(view ? [view] : shownViews(), chain);
}

async function refresh(some = shownViews(), chain = undefined) {
  await Promise.all(some.map((view) => view.refresh(chain)));
}

// The address has the state, so that reloading, going back and a copied link keep it.
const remember = debounced(100, () => {
  if (location.hash !== fragment) return; // a link that waits to be opened
  history.replaceState(null, "", toFragment(toSaved(state)));
  fragment = location.hash;
});

// ---- what is shown ----

function showWords() {
  const [one, other] = state.sides.map(({ tree }) => tree.path(tree.end));
  const parted = state.compare ? partsAt(one, other) : null;
  for (const view of shownViews()) {
    view.words.show(view.text.tree, parted);
    showBranches(view.part("branches"), view.text.tree, (node) => { view.text.tree.follow(node); changed(view); });
  }
}

// Show what follows from the answers to all chains.
function answered() {
  const answers = shownSides().map((one) => one.answer).filter(Boolean);
  const places = [...new Set(answers.map(({ position }) => `word ${position + 1}`))];
  byId("position").textContent = places.join(" and ");
  byId("largest").textContent = answers[0].largest_entropy.toFixed(2);
  const { human } = answers[0], over = answers.every(({ ended }) => ended);
  byId("human-note").hidden = !human;
  byId("human-note").textContent = human ? `The upright mark is human text: its mean surprisal is ${human.mean.toFixed(2)} nats a token (95 % interval ${human.low.toFixed(2)} to ${human.high.toFixed(2)}), over many places. One place is easier or harder to guess than the mean, so compare a whole text: the strip under it.` : "";
  byId("ended").hidden = !over;
  for (const id of ["draw", "write"]) byId(id).setAttribute("aria-disabled", String(over));
  byId("undo").disabled = shownSides().every(({ tree }) => tree.at === tree.root);
  byId("redo").disabled = shownSides().every(({ tree }) => tree.at === tree.end);
  remember();
}

function showPromptError(text) {
  byId("prompt-error").textContent = text;
}

function showControls() {
  for (const name of ["model", "prompt", "decoder"]) byId(name).value = state[name];
  byId("seed").value = String(state.seed);
  byId("compare").setAttribute("aria-pressed", String(state.compare));
  document.querySelector("main").classList.toggle("two", state.compare);
  for (const each of document.querySelectorAll(`#panel${B}, #side${B}`)) each.hidden = !state.compare;
  for (const each of document.querySelectorAll(".which")) each.hidden = !state.compare;
}

// ---- the text ----

// `afterEach` is called after each word, and waited for.
async function draw(length, signal, more = {}, afterEach = () => {}) {
  await Promise.all(shownSides().map(async (one) => {
    const { tree } = one;
    const reply = await post("/api/write", { ...place(one), length, ...more }, signal);
    for (const word of reply.words) {
      tree.take(word);
      await afterEach();
      if (signal.aborted) return;
    }
    one.ended = reply.ended;
  }));
}

// Each press draws a word, however fast they come; a prompt that is being typed is read first.
function drawOne() {
  if (!mayDraw()) return;
  draws.add((signal) => watched("draw", async () => {
    await draw(1, signal);
    announce(`drawn: ${state.sides[0].tree.at.text}`);
    await refresh();
  }));
}

function drawToEnd() {
  if (!mayDraw()) return;
  draws.add(async (signal) => {
    showDrawing(true);
    await watched("draw", () => (state.decoder ? draw(LONGEST, signal, { decoder: state.decoder }) : drawPieces(signal)));
    showDrawing(false);
    if (!signal.aborted) await refresh();
  });
}

async function drawPieces(signal) {
  for (let left = LONGEST, piece = 1; left > 0 && !signal.aborted && !shownSides().every((one) => one.ended);) {
    const start = performance.now();
    let asked = 0; // ms until the words were there
    await draw(piece, signal, {}, async () => {
      asked ||= performance.now() - start;
      showWords();
      await pause(BETWEEN);
    });
    left -= piece;
    const fits = (piece * PATIENCE) / asked;
    piece = Math.max(1, Math.min(PIECE, left, Math.floor(fits)));
  }
}

function mayDraw() {
  readPrompt.flush();
  const may = byId("draw").getAttribute("aria-disabled") !== "true";
  if (!may) announce(byId("ended").textContent);
  return may;
}

function showDrawing(is) {
  const hadFocus = [byId("stop"), byId("write")].includes(document.activeElement);
  byId("stop").hidden = !is;
  byId("write").hidden = is;
  if (hadFocus) byId(is ? "stop" : "write").focus();
}

function take(view, node, word) {
  const { tree, answer } = view.text;
  if (!node && answer?.ended) return announce(byId("ended").textContent);
  if (node) tree.goTo(node.parent);
  return goOn(view, [word]);
}

// Append words that the server has listed.
function goOn(view, words) {
  for (const word of words) view.text.tree.take(word);
  announce(`taken: ${words.map(visible).join(" ")}`);
  return changed(view);
}

// Words of one's own, from the caret on: a branch like any other.
function type(view, text) {
  if (view.text.answer?.ended) return announce(byId("ended").textContent);
  draws.stop();
  return draws.add((signal) => watched("draw", async () => {
    const spaced = /^[\s.,;:!?')\]]/.test(text) ? text : ` ${text}`;
    const { tokens } = await post("/tokenize", { model: state.model, prompt: spaced }, signal);
    for (const id of tokens) view.text.tree.take({ id, text: null });
    await refresh([view]);
  }));
}

const readPrompt = debounced(200, () => {
  if (state.prompt === byId("prompt").value) return;
  state.prompt = byId("prompt").value;
  restart();
});

function restart() {
  for (const one of state.sides) one.tree = new Tree();
  changed();
}

// A new seed begins again from the prompt: its numbers belong to places in the text.
function setSeed(seed) {
  state.seed = seed;
  byId("seed").value = String(seed);
  for (const { tree } of state.sides) tree.at = tree.root;
  changed();
}

function readSeed({ target }) {
  if (/^\d{1,15}$/.test(target.value.trim())) setSeed(Number(target.value));
  else target.value = state.seed;
}

// ---- the chains ----

function compare() {
  state.compare = !state.compare;
  if (state.compare && !state.sides[1].stages) {
    const { sampler, off, ahead, ...text } = toSaved(state).sides[0];
    state.sides[1] = newSide({ sampler, off, ahead, tree: Tree.from(text) });
  }
  showControls();
  changed();
}

function paste(view) {
  pasteFor = view;
  byId("paste-error").textContent = "";
  byId("paste").showModal();
}

async function usePasted() {
  try {
    const reply = await askSettings({ settings: byId("paste-text").value });
    byId("paste-error").textContent = reply.error ?? "";
    if (reply.error) return;
    byId("paste").close();
    changed(pasteFor, { sampler: reply.expression });
  } catch (error) {
    byId("paste-error").textContent = error.message;
  }
}

// ---- open a state ----

function open(saved) {
  const { sides, missing, ...rest } = fromSaved(saved, offered);
  draws.stop();
  Object.assign(state, rest, { sides: [newSide(sides[0]), newSide(sides[1])] });
  for (const view of views) view.reset();
  showControls();
  notice("link", missing === null ? null : `The link is for the model ${missing}, which isn't served here: its prompt and its chain are shown with ${state.model}, without its words. Start corelm play --model ${missing} to see them.`);
  if (rest.lesson !== null) guide.write("lessons", rest.lesson);
  return changed();
}

// Show the state of a step of the tour or of a lesson; null where a guide is closed.
function showStep(step, lesson) {
  state.lesson = lesson;
  if (step?.saved) open({ model: state.model, lesson });
  else if (step) changed(views[0], { sampler: step.sampler });
  else remember();
}

function openAddress() {
  remember.cancel();
  fragment = location.hash;
  try {
    open(ofFragment(location.hash));
  } catch (error) {
    if (!state.model) open({});
    notice("link", `The link is damaged: ${error.message}`);
  }
}

// ---- start ----

function connect() {
  const on = (id, work, event = "click") => byId(id).addEventListener(event, work);
  const both = (work) => () => { for (const { tree } of shownSides()) work(tree); changed(); };
  on("draw", drawOne);
  on("write", drawToEnd);
  on("stop", () => changed());
  on("undo", both((tree) => tree.undo()));
  on("redo", both((tree) => tree.redo()));
  on("restart", restart);
  on("new-seed", () => setSeed(Math.floor(Math.random() * 1e6)));
  on("seed", readSeed, "change");
  on("prompt", readPrompt, "input");
  on("decoder", (e) => { state.decoder = e.target.value; remember(); }, "change");
  on("model", (e) => { state.model = e.target.value; restart(); }, "change");
  on("compare", compare);
  on("paste-use", usePasted);
  on("paste-close", () => byId("paste").close());
  rove(byId("alternatives"), "button"); // of shared.js
  for (const view of views) rove(view.part("branches").querySelector("ul"), BRANCH);
  new Away(open, offered.sources);
  guide = new Guide(showStep);
  addEventListener("hashchange", openAddress);
  addEventListener("pagehide", () => remember.flush());
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target) || document.querySelector("dialog[open]")) return;
    const key = { d: "draw", e: "write", u: "undo", r: "redo", n: "new-seed" }[event.key];
    if (key) byId(key).click();
  });
}

async function start() {
  const [reply, models] = await Promise.all([get("/api/samplers"), get("/v1/models")]);
  const decoders = reply.decoders.filter((each) => each.name !== ANCESTRAL);
  Object.assign(offered, { models: models.data.map(({ id }) => id), decoders: decoders.map(({ name }) => name), sources: reply.models });
  byId("model").replaceChildren(...offered.models.map((id) => h("option", { value: id }, id)));
  byId("legend").replaceChildren("surprisal ", ...[`under ${reply.levels[0]}`, ...reply.levels].flatMap((each, at) =>
    [h("span", { class: `s${at}` }, at === reply.levels.length ? `${each} nats and more` : String(each)), " "]));
  byId("decoders").hidden = !decoders.length;
  byId("decoder").replaceChildren(h("option", { value: "" }, "one draw after the other"),
    ...decoders.map(({ name, help }) => h("option", { value: name }, `${name}: ${help}`)));
  for (const id of ["panel", "side"]) copied(byId(id), B, "B");
  const page = { changed, take, goOn, type, paste, answered, showWords, showPromptError };
  views = ["", B].map((suffix, at) => new Side(at, suffix, reply, page));
  connect();
  openAddress();
  enterClass(reply.role);
}

start().catch((error) => notice("start", error.message));
