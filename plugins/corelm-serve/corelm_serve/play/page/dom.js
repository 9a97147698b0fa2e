// Small helpers around the DOM, besides those of shared.js, which all pages of corelm have. Texts only ever become text nodes, never markup.

export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name in element && typeof value !== "string") element[name] = value;
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export const byId = (id) => document.getElementById(id);

let unit = "word"; // of the model

// Name the model's unit wherever a text has a place for it.
export function nameUnit(name) {
  unit = name;
  for (const each of document.querySelectorAll("[data-unit]")) each.textContent = unit;
}

// Write a text, with a place for the unit at each {unit}.
export function writeWithUnit(element, text) {
  const [first, ...rest] = text.split("{unit}");
  element.replaceChildren(first, ...rest.flatMap((part) => [h("span", { data: { unit: "" } }, unit), part]));
}

export const isTyping = (element) =>
  element.matches("textarea, select, input:not([type=range]):not([type=checkbox])");

export function announce(text) {
  byId("announcer").textContent = text;
}

// Offer `choices`, a value, text and title each, and act on the one that is chosen: by mouse, or with
// Enter, since arrow keys pass by other choices.
export function offer(select, prompt, choices, act) {
  select.replaceChildren(h("option", { value: "" }, prompt), ...choices.map(([value, text, title]) => h("option", { value, title }, text)));
  let passing = false;
  const choose = () => { if (select.value) act(select.value); select.value = ""; };
  select.addEventListener("pointerdown", () => { passing = false; });
  select.addEventListener("keydown", (event) => {
    passing = event.key !== " "; // which opens the list: Enter then chooses by itself
    if (event.key !== "Enter") return;
    event.preventDefault();
    choose();
  });
  select.addEventListener("change", () => { if (!passing) choose(); });
  select.addEventListener("blur", () => { select.value = ""; });
}

// Return a function that does its work after a pause; `flush` does at once what is waiting.
export function debounced(wait, work) {
  let timer = null, values;
  const cancel = () => { clearTimeout(timer); timer = null; };
  const now = () => { cancel(); work(...values); };
  const later = (...latest) => { cancel(); values = latest; timer = setTimeout(now, wait); };
  return Object.assign(later, { cancel, flush: () => { if (timer !== null) now(); } });
}

// Not a frame of animation: a page in the background has none.
export const pause = (ms) => new Promise((done) => { setTimeout(done, ms); });

export const count = (n) => n.toLocaleString("en");

// Words begin with a space, and some are only marks that cannot be seen.
export function visible({ text, end }) {
  if (end) return "[end]";
  if (text === null) return "…"; // on its way
  const shown = text.replace(/\n/g, "↵").replace(/\t/g, "⇥");
  return shown.trim() || (text ? "␣".repeat(Math.min(text.length, 3)) : "∅");
}
