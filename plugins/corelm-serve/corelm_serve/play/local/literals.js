// Values as Python writes them: corelm's expressions hold its literals.

// A number that Python writes with a point; where its type is declared, a plain number does.
export class Float extends Number {}

const TOKEN = /\s*('(?:[^'\\\n]|\\[^])*'|"(?:[^"\\\n]|\\[^])*"|[A-Za-z_]\w*|(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?|[-[\](){},:])\s*/y;
const NAMES = { inf: new Float(Infinity), nan: new Float(NaN), True: true, true: true, False: false, false: false };
const CLOSING = { "[": "]", "(": ")" };
const ESCAPE = /\\(?:x([\da-fA-F]{2})|u([\da-fA-F]{4})|U([\da-fA-F]{8})|([^]))/g;
const ESCAPED = { n: "\n", r: "\r", t: "\t", b: "\b", f: "\f", v: "\v", a: "\x07", 0: "\0", "\n": "" };

const fail = () => { throw new SyntaxError("not a literal"); };

// Read a literal: lists and tuples are arrays, mappings are Maps. Throws SyntaxError for any other text.
export function readLiteral(text) {
  const tokens = [];
  for (TOKEN.lastIndex = 0; TOKEN.lastIndex < text.length;) tokens.push((TOKEN.exec(text) ?? fail())[1]);
  const value = read(tokens);
  return tokens.length ? fail() : value;
}

function read(tokens) {
  const token = tokens.shift() ?? fail();
  if (token === "-") {
    const value = read(tokens);
    return value instanceof Float ? new Float(-value) : typeof value === "number" ? -value : fail();
  }
  if (token === "{") return new Map(items(tokens, "}", () => [read(tokens), tokens.shift() === ":" ? read(tokens) : fail()]));
  if (token in CLOSING) {
    const values = items(tokens, CLOSING[token], () => read(tokens));
    return token === "(" && values.length === 1 && !values.hasComma ? values[0] : values;
  }
  if (/^['"]/.test(token)) return token.slice(1, -1).replace(ESCAPE, (all, two, four, eight, one) => (one ? ESCAPED[one] ?? (/[\\'"]/.test(one) ? one : all) : String.fromCodePoint(parseInt(two ?? four ?? eight, 16))));
  if (/^[\d.]/.test(token)) return /[.eE]/.test(token) ? new Float(token.replaceAll("_", "")) : /^0+[1-9]/.test(token) ? fail() : Number(token.replaceAll("_", ""));
  return Object.hasOwn(NAMES, token) ? NAMES[token] : fail();
}

// Items with commas between them, up to a closing bracket.
function items(tokens, closing, item) {
  const values = [];
  for (values.hasComma = true; tokens[0] !== closing; values.hasComma = tokens[0] === "," && Boolean(tokens.shift())) values.push(values.hasComma ? item() : fail());
  tokens.shift();
  return values;
}

// Write a value as Python's `repr` does; `type` is that of its parameter.
export function written(value, type = "") {
  if (typeof value === "string") return quoted(value);
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `(${value.map((each) => written(each)).join(", ")}${value.length === 1 ? "," : ""})`;
  if (value instanceof Map) return `{${[...value].map(([key, each]) => `${written(key)}: ${written(each)}`).join(", ")}}`;
  return value instanceof Float || type === "float" ? float(Number(value)) : String(value);
}

function float(number) {
  if (!Number.isFinite(number)) return String(number).replace("Infinity", "inf").replace("NaN", "nan");
  const [digits, power] = number.toExponential().split("e"), exponent = Number(power);
  if (number !== 0 && (exponent < -4 || exponent >= 16)) return `${digits}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
  const text = Object.is(number, -0) ? "-0" : String(number);
  return text.includes(".") ? text : `${text}.0`;
}

function quoted(text) {
  const mark = text.includes("'") && !text.includes('"') ? '"' : "'";
  return mark + text.replaceAll("\\", "\\\\").replaceAll(mark, `\\${mark}`).replaceAll("\n", "\\n").replaceAll("\r", "\\r").replaceAll("\t", "\\t") + mark;
}
