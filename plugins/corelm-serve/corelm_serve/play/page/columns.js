// The next word: a row for each likely word, a column for the model and for each stage.

import { count, h, visible } from "./dom.js";

export class ColumnsView {
  // `take` takes a token; `open` shows the arithmetic of a column.
  constructor(table, { take, open }) {
    Object.assign(this, { table, take, open });
    this.rows = new Map();
    this.width = 0;
  }

  show(answer) {
    const isNew = this.width !== answer.columns.length || this.unit !== answer.unit;
    if (isNew) this.begin(answer.columns.length, answer.unit);
    answer.columns.forEach((column, at) => this.heads[at].show(column, answer));
    const shares = answer.tokens.flatMap((each) => [...each.probabilities, each.count / Math.max(answer.draws, 1)]);
    const largest = Math.max(...shares, 1e-12);
    const rows = answer.tokens.map((token) => this.row(token, largest, answer));
    const wanted = new Set(rows), focused = this.table.contains(document.activeElement);
    for (const [id, row] of this.rows) if (!wanted.has(row.element)) this.rows.delete(id);
    // Rows that stay are not replaced, so that their bars move.
    for (const old of [...this.body.children]) if (!wanted.has(old)) old.remove();
    rows.forEach((row, at) => { if (this.body.children[at] !== row) this.body.insertBefore(row, this.body.children[at] ?? null); });
    if (isNew) this.table.parentElement.scrollLeft = this.table.scrollWidth; // to what is drawn from
    // A word that was taken is gone; its keys go on with the likeliest.
    if (focused && !this.table.contains(document.activeElement)) this.body.querySelector(".take")?.focus({ preventScroll: true });
  }

  begin(width, unit) {
    Object.assign(this, { width, unit });
    this.rows.clear();
    this.heads = Array.from({ length: width }, (_, at) => new Head(at === width - 1, () => this.open(at)));
    const line = (name, part, scope = "row") => h("tr", { class: part }, h("th", { scope }, name), this.heads.map((each) => each[part]));
    const head = h("thead", {}, line("stage", "stage"), line("entropy", "entropy"), line("expected surprisal", "expected"), line(`next ${unit}`, "kept"));
    this.body = h("tbody");
    this.table.replaceChildren(head, this.body);
    this.table.style.setProperty("--stages", width);
  }

  row(token, largest, answer) {
    let row = this.rows.get(token.id);
    if (!row) {
      const cells = answer.columns.map(() => h("td", {}, h("span", { class: "bar" }), h("span", { class: "share" })));
      cells.at(-1).lastChild.before(h("i", { class: "tally" }));
      const button = h("button", { type: "button", class: "take", title: `take this ${answer.unit}`, onclick: () => this.take(row.token) });
      const mark = h("small", { title: "what the seed draws next" });
      cells.forEach((cell) => cell.addEventListener("click", () => this.take(row.token))); // as the word does
      row = { element: h("tr", {}, h("th", { scope: "row" }, h("span", { class: "next-word" }, button, mark)), cells), cells, button, mark };
      this.rows.set(token.id, row);
    }
    row.token = token;
    const isDrawn = token.id === answer.drawn;
    row.button.textContent = visible(token);
    row.mark.textContent = isDrawn ? "● next" : "";
    row.button.setAttribute("aria-disabled", String(answer.ended));
    row.element.classList.toggle("drawn", isDrawn);
    row.button.setAttribute("aria-label", `take ${visible(token)}`);
    row.cells.forEach((cell, at) => fill(cell, token, at, largest));
    tally(row.cells.at(-1), token.count, answer.draws, largest);
    return row.element;
  }
}

function fill(cell, token, at, largest) {
  const p = token.probabilities[at];
  const removed = token.removed_by !== null && at >= token.removed_by && p === 0;
  cell.classList.toggle("removed", removed);
  cell.dataset.p = String(p);
  cell.style.setProperty("--share", p / largest);
  cell.lastChild.textContent = removed ? (at === token.removed_by ? "removed" : "–") : share(p);
}

// Show how often a token was drawn, beside the theory.
function tally(cell, drawn, draws, largest) {
  cell.classList.toggle("tallied", draws > 0);
  cell.style.setProperty("--tally", draws ? Math.min(drawn / draws / largest, 1) : 0);
  if (draws) cell.lastChild.textContent += ` (${drawn})`;
}

// The head of a column: its parts stay while a slider moves, so that their marks move too.
class Head {
  constructor(isLast, open) {
    this.name = h("button", { type: "button", class: "name", onclick: open });
    this.stage = h("th", { scope: "col" }, this.name, isLast ? h("span", { class: "last" }, "drawn from") : null);
    this.strips = [new Strip(), new Strip()];
    this.nats = h("span", { class: "figures" }, h("b"), " nats");
    this.bits = h("span");
    this.choices = h("span");
    this.entropy = h("td", {}, this.strips[0].box, this.nats, this.bits, this.choices);
    this.surprisal = h("span", {}, h("b"), " nats");
    this.expected = h("td", {}, this.strips[1].box, this.surprisal);
    this.kept = h("td");
  }

  show(column, { largest_entropy: largest, human, unit }) {
    const name = column.branch ? `${column.name} (${column.branch})` : column.name;
    for (const cell of [this.stage, this.entropy, this.expected, this.kept]) cell.classList.toggle("neutral", Boolean(column.neutral));
    this.name.title = `${column.stage ?? name}: see the numbers`;
    this.name.replaceChildren(...name.split(/(?=[(|])/).flatMap((part) => [h("wbr"), part])); // where lines may break
    this.strips[0].show(column.entropy, largest, null, `entropy ${column.entropy.toFixed(2)} of at most ${largest.toFixed(2)} nats`);
    Object.assign(this.nats.dataset, { entropy: String(column.entropy), kept: String(column.kept) });
    this.nats.querySelector("b").textContent = column.entropy.toFixed(2);
    this.bits.textContent = `${column.bits.toFixed(2)} bits`;
    this.choices.textContent = `≈ ${number(column.choices)} ${unit}s`;
    this.choices.title = `as many equally likely ${unit}s have this entropy`;
    const nats = column.surprisal;
    this.surprisal.dataset.surprisal = String(nats);
    this.surprisal.querySelector("b").textContent = nats === null ? "unbounded" : nats.toFixed(2);
    this.strips[1].show(nats ?? largest, largest, human, expects(nats, human));
    this.kept.classList.toggle("cut", column.removed > 0);
    this.kept.textContent = column.removed
      ? `removed ${count(column.removed)}: ${share(column.removed_mass)}`
      : column.fell_back ? "nothing allowed was left: the likeliest allowed" : `${count(column.kept)} possible`;
  }
}

const expects = (nats, human) =>
  `expected surprisal ${nats === null ? "unbounded" : nats.toFixed(2)}${human ? `; human text has ${human.mean.toFixed(2)} on average` : ""}`;

const number = (x) => (x < 100 ? x.toFixed(1) : count(Math.round(x)));

// Nats between 0 and ln V; where human text was measured, a band shows its mean surprisal.
export class Strip {
  constructor() {
    this.mark = h("span");
    this.box = h("span", { class: "strip", role: "img" }, this.mark);
  }

  show(nats, largest, human, label) {
    const place = (each) => Math.min((100 * each) / largest, 100);
    drawStrip(this.mark, place(nats), human ? place(human.low) : 0, human ? place(human.high) : 0); // of shared.js
    this.box.classList.toggle("with-human", human !== null);
    this.box.setAttribute("aria-label", label);
  }
}
