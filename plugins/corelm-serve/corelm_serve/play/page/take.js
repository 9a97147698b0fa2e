// Take away: the command, the Python, a link, a file that opens again, the picture and its data.

import { announce, byId, h, percent, visible } from "./dom.js";

const shell = (text) => `'${text.replaceAll("'", `'"'"'`)}'`;
const python = (text) => JSON.stringify(text);

export function command(state, expression, length) {
  return `corelm sample --model ${shell(state.model)} --prompt ${shell(state.prompt)} --sampler ${shell(expression)} --seed ${state.seed} --length ${length}`;
}

export function program(state, expression, length) {
  return `import corelm\n\ntexts = corelm.generate(${python(state.model)}, ${python(state.prompt)}, sampler=${python(expression)}, seed=${state.seed}, length=${length})\nprint(texts[0].text)`;
}

export function link(saved) {
  return `${location.origin}/play#${encodeURIComponent(JSON.stringify(saved))}`;
}

export function download(name, content, type) {
  save(name, content, type); // of shared.js
  announce(`${name} is saved`);
}

export async function copy(button, text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    byId("take-text").select();
    document.execCommand("copy");
  }
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
}

export function csv(answer) {
  const quoted = (text) => `"${text.replaceAll('"', '""')}"`;
  const names = ["token", "id", ...answer.columns.map((each) => each.stage ?? "model")];
  const lines = answer.tokens.map((each) => [quoted(each.text), each.id, ...each.probabilities]);
  return [names.map(quoted), ...lines].map((line) => line.join(",")).join("\r\n") + "\r\n";
}

const SPACE = "http://www.w3.org/2000/svg";

function s(tag, properties, ...children) {
  const element = document.createElementNS(SPACE, tag);
  for (const [name, value] of Object.entries(properties)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

// The rows and columns as a picture that stands by itself: its colours are written into it.
export function svg(answer) {
  const [left, wide, gap, line, top] = [110, 150, 22, 24, 58];
  const columns = answer.columns.length;
  const width = left + columns * (wide + gap), height = top + answer.tokens.length * line + 12;
  const largest = Math.max(...answer.tokens.flatMap((each) => each.probabilities), 1e-12);
  const text = (x, y, content, more = {}) => s("text", { x, y, fill: "#1d2b2e", ...more }, content);
  const parts = answer.columns.flatMap((column, at) => {
    const x = left + at * (wide + gap), name = column.stage ?? "model";
    return [
      text(x, 20, name.length > 26 ? `${name.slice(0, 25)}…` : name, { "font-weight": 600 }),
      text(x, 38, `${column.entropy.toFixed(2)} nats`, { fill: "#56666a" }),
      ...answer.tokens.flatMap((token, row) => {
        const p = token.probabilities[at], y = top + row * line;
        return [
          s("rect", { x, y: y - 11, width: (p / largest) * (wide - 52), height: 14, fill: "#00796b", rx: 2 }),
          text(x + (p / largest) * (wide - 52) + 5, y, p === 0 ? "–" : percent(p), { fill: p === 0 ? "#56666a" : "#1d2b2e" }),
        ];
      }),
    ];
  });
  const words = answer.tokens.map((token, row) => text(left - 10, top + row * line, visible(token), { "text-anchor": "end" }));
  const picture = s("svg", { xmlns: SPACE, width, height, viewBox: `0 0 ${width} ${height}`, "font-family": "system-ui, sans-serif", "font-size": 13 },
    s("rect", { width, height, fill: "#fff" }), ...words, ...parts);
  return new XMLSerializer().serializeToString(picture);
}
