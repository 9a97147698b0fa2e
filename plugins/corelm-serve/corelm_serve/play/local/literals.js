// Values as Python writes them: corelm's expressions hold its literals.

// A number that Python writes with a point; where its type is declared, a plain number does.
export class Float extends Number {}

const NAMES = { inf: new Float(Infinity), nan: new Float(NaN), True: true, true: true, False: false, false: false };
const NUMBER = /^(?:0[xX][\da-fA-F]+|0[oO][0-7]+|0[bB][01]+|(?:\d+(?:_\d+)*)?(\.)?(?:\d+(?:_\d+)*)?([eE][+-]?\d+)?)/;
const ESCAPED = { n: "\n", r: "\r", t: "\t", b: "\b", f: "\f", v: "\v", a: "\x07", 0: "\0", "\n": "" };
const CODE = /^(?:x([\da-fA-F]{2})|u([\da-fA-F]{4})|U([\da-fA-F]{8}))/;

// Read a literal: lists and tuples are arrays, mappings are Maps. Throws SyntaxError for any other text.
export function readLiteral(text) {
  const reader = new Reader(text), value = reader.value();
  reader.end();
  return value;
}

class Reader {
  constructor(text) { Object.assign(this, { text, at: 0 }); }

  fail() { throw new SyntaxError("not a literal"); }

  take(pattern) {
    const match = pattern.exec(this.text.slice(this.at));
    if (match) this.at += match[0].length;
    return match;
  }

  next(mark) {
    this.take(/^\s+/);
    if (!this.text.startsWith(mark, this.at)) return false;
    this.at += mark.length;
    return true;
  }

  end() {
    this.take(/^\s+/);
    if (this.at < this.text.length) this.fail();
  }

  value() {
    if (this.next("-")) {
      const value = this.value();
      return value instanceof Float ? new Float(-value) : typeof value === "number" ? -value : this.fail();
    }
    if (this.next("[")) return this.items("]");
    if (this.next("{")) return this.mapping();
    if (this.next("(")) {
      const items = this.items(")");
      return items.length === 1 && !items.hasComma ? items[0] : items;
    }
    const letter = this.text[this.at];
    if (letter === "'" || letter === '"') return this.string();
    const name = this.take(/^[A-Za-z_]\w*/);
    if (name) return name[0] in NAMES ? NAMES[name[0]] : this.fail();
    const number = this.take(NUMBER);
    if (!number?.[0] || number[0] === "." || /^\w/.test(this.text.slice(this.at))) this.fail();
    const value = Number(number[0].replaceAll("_", ""));
    return number[1] || number[2] ? new Float(value) : /^0\d*[1-9]/.test(number[0]) ? this.fail() : value;
  }

  items(closing) {
    const items = [];
    while (!this.next(closing)) {
      if (items.length && !items.hasComma) this.fail();
      items.push(this.value());
      items.hasComma = this.next(",");
    }
    return items;
  }

  mapping() {
    const pairs = [];
    for (let more = true; !this.next("}"); more = this.next(",")) {
      if (!more) this.fail();
      const key = this.value();
      if (!this.next(":")) this.fail();
      pairs.push([key, this.value()]);
    }
    return new Map(pairs);
  }

  string() {
    const quote = this.text[this.at++];
    let value = "";
    for (let letter = this.text[this.at++]; letter !== quote; letter = this.text[this.at++]) {
      if (letter === undefined || letter === "\n") this.fail();
      if (letter !== "\\") { value += letter; continue; }
      const code = this.take(CODE);
      if (code) { value += String.fromCodePoint(parseInt(code[1] ?? code[2] ?? code[3], 16)); continue; }
      const escaped = this.text[this.at++];
      value += ESCAPED[escaped] ?? ("\\'\"".includes(escaped) ? escaped : `\\${escaped}`);
    }
    return value;
  }
}

// Write a value as Python's `repr` does; `type` is that of its parameter.
export function written(value, type = "") {
  if (typeof value === "string") return quoted(value);
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `(${value.map((each) => written(each)).join(", ")}${value.length === 1 ? "," : ""})`;
  if (value instanceof Map) return `{${[...value].map(([key, each]) => `${written(key)}: ${written(each)}`).join(", ")}}`;
  return value instanceof Float || type === "float" ? float(Number(value)) : String(value);
}

export function float(number) {
  if (!Number.isFinite(number)) return String(number).replace("Infinity", "inf").replace("NaN", "nan");
  const [digits, power] = number.toExponential().split("e"), exponent = Number(power);
  if (number !== 0 && (exponent < -4 || exponent >= 16)) return `${digits}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
  if (number !== 0 && exponent < -6) return number.toFixed(-exponent);
  const text = Object.is(number, -0) ? "-0" : String(number);
  return text.includes(".") ? text : `${text}.0`;
}

function quoted(text) {
  const mark = text.includes("'") && !text.includes('"') ? '"' : "'";
  const escaped = text.replaceAll("\\", "\\\\").replaceAll(mark, `\\${mark}`).replaceAll("\n", "\\n").replaceAll("\r", "\\r").replaceAll("\t", "\\t");
  const code = (letter) => { const number = letter.codePointAt(0); return number < 256 ? `\\x${number.toString(16).padStart(2, "0")}` : number < 65536 ? `\\u${number.toString(16).padStart(4, "0")}` : `\\U${number.toString(16).padStart(8, "0")}`; };
  return mark + escaped.replace(/[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu, code) + mark;
}
