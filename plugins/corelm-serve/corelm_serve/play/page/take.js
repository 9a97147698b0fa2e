// Take away: the command, the Python, a link, a file that opens again, and the data of a picture.

import { announce, byId } from "./dom.js";
import { toFragment, toSaved } from "./link.js";
import { address } from "./server.js";
import { expressionOf, isShown, shownSides, state } from "./state.js";

const LENGTH = 20; // tokens of a text that has fewer so far
const NOTES = {
  link: "The link holds the whole state behind the #, which no browser sends to a server. It opens where corelm play runs at this address.",
  expression: "",
};
const NOTE = "It draws the text from the prompt on; words that you took by hand are in the link and the file.";

const shell = (text) => `'${text.replaceAll("'", `'"'"'`)}'`;
const python = (text) => JSON.stringify(text);

// The dialog. `open` opens a state; `sources` has the model of each name, as `--model` takes it.
export class Away {
  constructor(open, sources) {
    Object.assign(this, { open, sources });
    const on = (id, work, event = "click") => byId(id).addEventListener(event, work);
    on("take-open", () => { this.show(); byId("take").showModal(); });
    on("take-copy", (e) => copy(e.target, byId("take-text").value));
    on("take-save", () => download("corelm-play.json", JSON.stringify(toSaved(state), null, 1), "application/json"));
    on("take-file", (e) => { if (e.target.files[0]) this.read(e.target.files[0]); e.target.value = ""; }, "change");
    for (const radio of document.getElementsByName("form")) radio.addEventListener("change", () => this.show());
  }

  // Write the form that is chosen; what the server has to write first follows when it is there.
  show() {
    const form = document.querySelector("input[name=form]:checked").value, sides = shownSides();
    byId("take-text").value = form === "link" ? link() : sides.every(isShown) ? sides.map((one) => this[form](one)).join("\n\n") : "…";
    byId("take-note").textContent = NOTES[form] ?? NOTE;
  }

  get model() {
    return this.sources[state.model] ?? state.model;
  }

  command(one) {
    const decoder = state.decoder ? ` --decoder ${shell(state.decoder)}` : "";
    const prompt = state.prompt.startsWith("-") ? `-- ${shell(state.prompt)}` : shell(state.prompt); // no option
    return `corelm sample --model ${shell(this.model)} --sampler ${shell(expressionOf(one))} --seed ${state.seed} --length ${lengthOf(one)}${decoder}${state.chat ? " --chat" : ""} ${prompt}`;
  }

  python(one) {
    const [imported, decoder] = state.decoder
      ? ["\nfrom corelm.runs import strategy\n", `, decoder=strategy(${python(state.decoder)}).decoder`] : ["", ""];
    const [written, model, prompt] = state.chat
      ? [`from corelm.abilities import FullVocabulary\n\nmodel = corelm.load(${python(this.model)})\nprompt = FullVocabulary(model.vocabulary).message(${python(state.prompt)})\n`, "model", "prompt"]
      : ["", python(this.model), python(state.prompt)];
    return `import corelm${imported}\n${written}\n[text] = corelm.generate(${model}, ${prompt}, sampler=${python(expressionOf(one))}, seed=${state.seed}, length=${lengthOf(one)}${decoder})\nprint(text.text)`;
  }

  expression = expressionOf;

  async read(file) {
    try {
      this.open(JSON.parse(await file.text()));
      byId("take").close();
    } catch (error) {
      byId("take-note").textContent = `${file.name} can't be opened: ${error.message}`;
    }
  }
}

const lengthOf = (one) => Math.max(one.tree.path().length, LENGTH);

const link = () => `${address()}${toFragment(toSaved(state))}`;

export function download(name, content, type) {
  save(name, content, type); // of shared.js
  announce(`${name} is saved`);
}

async function copy(button, text) {
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
