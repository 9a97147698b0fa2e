// Take away: the command, the Python, a link, a file that opens again, the picture and its data.

import { announce, byId } from "./dom.js";

const shell = (text) => `'${text.replaceAll("'", `'"'"'`)}'`;
const python = (text) => JSON.stringify(text);

export function command(state, expression, length) {
  return `corelm sample --model ${shell(state.model)} --prompt ${shell(state.prompt)} --sampler ${shell(expression)} --seed ${state.seed} --length ${length}${state.decoder ? ` --decoder ${shell(state.decoder)}` : ""}`;
}

export function program(state, expression, length) {
  const [imported, given] = state.decoder
    ? ["\nfrom corelm.runs import strategy\n", `, decoder=strategy(${python(state.decoder)}).decoder`] : ["", ""];
  return `import corelm${imported}\n\ntexts = corelm.generate(${python(state.model)}, ${python(state.prompt)}, sampler=${python(expression)}, seed=${state.seed}, length=${length}${given})\nprint(texts[0].text)`;
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
