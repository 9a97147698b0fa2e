// The control of one parameter: a slider where a range makes sense, and always a field to type in.

import { h } from "./dom.js";

const STEPS = 1000;

// `change(value)` is called at every movement; `context.vocabulary` bounds numbers of tokens.
export function control(parameter, value, context, change) {
  if (parameter.local) return h("em", {}, "set it on the command line");
  if (parameter.choices) return choices(parameter, value, change);
  if (parameter.type === "bool") {
    return h("input", { type: "checkbox", "aria-label": parameter.name, checked: value, onchange: (e) => change(e.target.checked) });
  }
  if (parameter.type === "float" || parameter.type === "int") return number(parameter, value, context, change);
  return text(parameter, value, change);
}

function choices(parameter, value, change) {
  const options = parameter.choices.map((each) =>
    h("option", { value: String(each), selected: each === value }, String(each)));
  return h("select", { "aria-label": parameter.name, onchange: (e) => change(parameter.choices[e.target.selectedIndex]) }, options);
}

function text(parameter, value, change) {
  const written = typeof value === "string" ? value : Array.isArray(value) ? listed(value) : JSON.stringify(value);
  return h("input", {
    type: "text", "aria-label": parameter.name, value: written, spellcheck: "false",
    onchange: (e) => change(parsed(parameter, e.target.value)),
  });
}

function parsed(parameter, written) {
  if (parameter.type === "tuple") return items(written);
  if (parameter.type === "str") return written;
  if (parameter.type === "dict") {
    try { return JSON.parse(written); } catch { return written; }
  }
  return asNumber(written);
}

// Texts have quotation marks where they'd be read otherwise: a newline, a comma, a number.
const listed = (values) => values.map((each) => (isPlain(each) ? each : JSON.stringify(each))).join(", ");
const isPlain = (item) => typeof item === "string" && /^[^\s"\\,[\]{}]+( [^\s"\\,[\]{}]+)*$/.test(item) && Number.isNaN(Number(item));

function items(written) {
  const parts = written.match(/"(?:[^"\\]|\\.)*"|[^,"]+/g) ?? [];
  return parts.map((item) => item.trim()).filter(Boolean).map((item) => {
    if (!item.startsWith('"')) return asNumber(item);
    try { return JSON.parse(item); } catch { return item; }
  });
}

const asNumber = (item) => (item !== "" && !Number.isNaN(Number(item)) ? Number(item) : item);

function number(parameter, value, context, change) {
  const scale = scaleOf(parameter, context);
  const field = h("input", {
    type: "text", inputmode: "decimal", class: "number", "aria-label": `${parameter.name} as a number`, value: String(value), size: "6",
    onchange: () => { slider.value = scale.place(Number(field.value)); change(asNumber(field.value.trim())); },
  });
  const slider = h("input", { type: "range", "aria-label": parameter.name, min: "0", max: String(STEPS), step: "1" });
  slider.value = scale.place(Number(value));
  slider.setAttribute("aria-valuetext", String(value));
  slider.addEventListener("input", () => {
    const moved = scale.value(Number(slider.value));
    field.value = String(moved);
    slider.setAttribute("aria-valuetext", field.value);
    change(moved);
  });
  slider.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    if (!by || event.altKey) return;
    event.preventDefault();
    slider.value = next(scale, Number(slider.value), by);
    slider.dispatchEvent(new Event("input", { bubbles: true }));
  });
  return h("span", { class: "both" }, slider, field);
}

// The nearest place that has another value: a key press never passes without an effect.
function next(scale, from, by) {
  let place = from + by;
  while (place > 0 && place < STEPS && scale.value(place) === scale.value(from)) place += by;
  return Math.min(STEPS, Math.max(0, place));
}

// From the places of a slider to values, and back; logarithmic where the values span decades.
function scaleOf(parameter, { vocabulary }) {
  const whole = parameter.type === "int";
  const low = finite(parameter.low, 0);
  const high = finite(parameter.high, whole ? Math.max(vocabulary, 100) : softBound(parameter, low));
  const first = low > 0 ? low : whole ? Math.max(low, 0) + 1 : 0;
  const decades = whole ? high > 200 : low > 0 && high / low >= 1000;
  const nearest = (x) => (whole ? Math.round(x) : Number(x.toPrecision(3)));
  const bounded = (x) => {
    const least = parameter.above ? Number((low + (whole ? 1 : (high - low) / STEPS)).toPrecision(3)) : low;
    const most = parameter.below ? Number((high - (whole ? 1 : (high - low) / STEPS)).toPrecision(3)) : high;
    return Math.min(most, Math.max(least, x));
  };
  if (!decades) {
    return {
      value: (place) => bounded(nearest(low + ((high - low) * place) / STEPS)),
      place: (x) => (STEPS * (x - low)) / (high - low),
    };
  }
  const ratio = Math.log(high / first);
  return {
    value: (place) => bounded(place === 0 ? low : nearest(first * Math.exp((ratio * place) / STEPS))),
    place: (x) => (x <= low ? 0 : (STEPS * Math.log(x / first)) / ratio),
  };
}

const finite = (bound, other) => (typeof bound === "number" ? bound : other);

// Where a parameter has no upper bound: as far as people usually go.
function softBound(parameter, low) {
  const usual = typeof parameter.default === "number" ? parameter.default : 1;
  return Math.max(low + 2, 2 * Math.abs(usual));
}
