// The arithmetic of one column: from logits to probabilities, a row for each token.

import { count, h, visible } from "./dom.js";

// `numbers` is the server's arithmetic of `column`, with the model's name for a token; null for none.
export function showArithmetic(box, numbers, column, unit, close) {
  box.hidden = !numbers;
  if (!numbers) return;
  const isStage = column.stage !== null;
  const heads = ["rank", unit, ...(isStage ? ["logit before"] : []), "logit", "exp(logit − largest)", "÷ sum", isStage ? "running sum before" : "running sum"];
  box.replaceChildren(
    h("div", { class: "line" }, h("h3", {}, `${column.stage ?? "model"}, in numbers`),
      h("button", { type: "button", class: "icon", "aria-label": "Close the numbers", onclick: close }, "×")),
    h("p", { class: "hint" }, `The largest logit is ${nats(numbers.largest)}. The sum of all exponentials is ${numbers.sum.toFixed(3)}: an exponential divided by it is a probability.`),
    h("div", { class: "scroll", tabIndex: 0, role: "region", "aria-label": `numbers of ${column.name}` },
      h("table", {}, h("thead", {}, h("tr", {}, heads.map((each) => h("th", { scope: "col" }, each)))),
        h("tbody", {}, numbers.rows.map((row) => line(row, isStage))))));
}

function line(row, isStage) {
  const removed = row.after === null;
  return h("tr", { class: removed ? "removed" : "" },
    h("td", {}, count(row.rank)), h("th", { scope: "row" }, removed ? h("s", {}, visible(row)) : visible(row)),
    isStage ? h("td", {}, nats(row.before)) : null, h("td", {}, removed ? "−∞" : nats(row.after)),
    h("td", {}, row.exponential.toPrecision(3)), h("td", { data: { p: String(row.probability) } }, share(row.probability)), h("td", {}, share(row.running)));
}

const nats = (logit) => logit.toFixed(2).replace("-", "−");
