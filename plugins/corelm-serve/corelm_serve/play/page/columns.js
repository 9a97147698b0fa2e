// The next word: a row for each likely word, a column for the model and for each stage.

import { count, h, percent, visible } from "./dom.js";

export class ColumnsView {
  constructor(table, take) {
    this.table = table;
    this.take = take;
    this.rows = new Map();
    this.width = 0;
  }

  show(answer) {
    if (this.width !== answer.columns.length || !this.body) this.begin(answer.columns.length);
    this.head.replaceChildren(...header(answer));
    const largest = Math.max(...answer.tokens.flatMap((each) => each.probabilities), 1e-12);
    const rows = answer.tokens.map((token) => this.row(token, largest, answer));
    const wanted = new Set(rows);
    for (const [id, row] of this.rows) if (!wanted.has(row.element)) this.rows.delete(id);
    // Rows that stay are not replaced, so that their bars move.
    for (const old of [...this.body.children]) if (!wanted.has(old)) old.remove();
    rows.forEach((row, at) => { if (this.body.children[at] !== row) this.body.insertBefore(row, this.body.children[at] ?? null); });
  }

  begin(width) {
    this.width = width;
    this.rows.clear();
    this.head = h("thead");
    this.body = h("tbody");
    this.table.replaceChildren(this.table.caption ?? h("caption"), this.head, this.body);
  }

  row(token, largest, answer) {
    let row = this.rows.get(token.id);
    if (!row) {
      const cells = answer.columns.map(() => h("td", {}, h("span", { class: "bar" }), h("span", { class: "share" })));
      const button = h("button", { type: "button", class: "take", title: "take this word", onclick: () => this.take(row.token) });
      const mark = h("small");
      row = { element: h("tr", {}, h("th", { scope: "row" }, button, mark), cells), cells, button, mark };
      this.rows.set(token.id, row);
    }
    row.token = token;
    const isDrawn = token.id === answer.drawn;
    row.button.textContent = visible(token);
    row.mark.textContent = isDrawn ? " ● next draw" : "";
    row.element.classList.toggle("drawn", isDrawn);
    row.button.setAttribute("aria-label", `take ${visible(token)}`);
    row.cells.forEach((cell, at) => fill(cell, token, at, largest));
    return row.element;
  }
}

function fill(cell, token, at, largest) {
  const p = token.probabilities[at];
  const removed = token.removed_by !== null && at >= token.removed_by && p === 0;
  cell.classList.toggle("removed", removed);
  cell.dataset.p = String(p);
  cell.firstChild.style.width = `${(100 * p) / largest}%`;
  cell.lastChild.textContent = removed ? (at === token.removed_by ? "removed" : "–") : percent(p);
}

function header(answer) {
  const last = answer.columns.length - 1;
  const cells = answer.columns.map((column, at) => {
    const name = column.stage === null ? "model" : column.branch ? `${column.stage} (${column.branch})` : column.stage;
    return h("th", { scope: "col", class: column.neutral ? "neutral" : "" },
      h("span", { class: "name", title: name }, name),
      strip(column.entropy, answer.largest_entropy),
      h("span", { class: "figures", data: { entropy: String(column.entropy), kept: String(column.kept) } },
        h("b", {}, column.entropy.toFixed(2)), " nats"),
      h("span", {}, `${column.bits.toFixed(2)} bits`),
      h("span", {}, `like ${number(column.choices)} equal words`),
      h("span", { class: column.removed ? "cut" : "" }, column.removed
        ? `removed ${count(column.removed)}: ${percent(column.removed_mass)}`
        : column.fell_back ? "nothing allowed was left: the likeliest allowed" : `${count(column.kept)} possible`),
      at === last ? h("span", { class: "last" }, "drawn from") : null);
  });
  return [h("tr", {}, h("th", { scope: "col" }, "next word"), cells)];
}

const number = (x) => (x < 100 ? x.toFixed(1) : count(Math.round(x)));

// Where an entropy lies between 0, one word for certain, and ln V, all words alike.
function strip(entropy, largest) {
  const mark = h("i");
  mark.style.left = `${(100 * entropy) / largest}%`;
  return h("span", { class: "scale", role: "img", "aria-label": `entropy ${entropy.toFixed(2)} of at most ${largest.toFixed(2)} nats` }, mark);
}
