// Text to token ids and back: corelm.models.byte_pairs and corelm.models.word_vocabulary.

const END = "[end]", PADDING = 0, UNKNOWN = 1;

// Python's whitespace.
const SPACE = "\\t-\\r\\x1c-\\x20\\x85\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";

export const readVocabulary = (text, style) => (style === "byte-pairs" ? new BytePairs(text) : new Words(text, style));

const linesOf = (text) => text.split("\n").slice(0, -1);

// ---- byte pairs ----

const FIRST_BYTE = 2, FIRST_MERGE = FIRST_BYTE + 256;
const WORD = new RegExp(`'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^${SPACE}\\p{L}\\p{N}]+|[${SPACE}]+(?![^${SPACE}])|[${SPACE}]+`, "gu");

const CHARACTER = /[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}|[^]/g; // as bytes, or a byte

class BytePairs {
  unit = "token";
  start = 1;
  ends = [1];
  never = [PADDING];
  unknown = null;

  constructor(text) {
    const lines = linesOf(text), bytes = new Map(lines.slice(FIRST_BYTE, FIRST_MERGE).map((each, byte) => [each, byte]));
    this.names = lines.map((line, id) => (id < FIRST_MERGE ? line : line.replace(" ", "")));
    this.merged = new Map();
    const ids = new Map(this.names.map((name, id) => [name, id]));
    lines.slice(FIRST_MERGE).forEach((line, at) => {
      const [left, right] = line.split(" ");
      this.merged.set(ids.get(left) * lines.length + ids.get(right), FIRST_MERGE + at);
    });
    this.bytes = this.names.map((name, id) => Uint8Array.from(id < FIRST_BYTE ? [] : [...name].map((each) => bytes.get(each))));
    this.size = lines.length;
  }

  encode(text) {
    const bytes = new TextEncoder();
    return (text.match(WORD) ?? []).flatMap((word) => this.merge([...bytes.encode(word)].map((byte) => FIRST_BYTE + byte)));
  }

  // Merge neighbours, the lowest rank first and from left to right.
  merge(ids) {
    const rank = (at) => this.merged.get(ids[at] * this.size + ids[at + 1]) ?? Infinity;
    for (;;) {
      let best = -1;
      for (let at = 0; at + 1 < ids.length; at++) if (rank(at) < (best < 0 ? Infinity : rank(best))) best = at;
      if (best < 0) return ids;
      ids.splice(best, 2, rank(best));
    }
  }

  // The texts of ids in turn; a part of a character waits for its end.
  writer(past = []) {
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true }), write = (id) => decoder.decode(this.bytes[id], { stream: true });
    past.forEach(write);
    return write;
  }

  // The text that a token would add; the bytes of a part of a character, such as <0xE7>.
  textAfter(past) {
    const tail = past.slice(-4).flatMap((id) => [...this.bytes[id]]).slice(-4); // a character at most
    const textOf = (bytes) => new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(bytes), { stream: true });
    const before = textOf(tail).length;
    return (id) => {
      const text = textOf([...tail, ...this.bytes[id]]).slice(before);
      return this.ends.includes(id) ? END : text && !text.includes("\ufffd") ? text : this.escaped(id) || this.names[id];
    };
  }

  // The characters of a token, and bytes that are parts of one in angle brackets.
  escaped(id) {
    const hex = (byte) => `<0x${byte.charCodeAt().toString(16).toUpperCase()}>`;
    const decoded = (bytes) => new TextDecoder().decode(Uint8Array.from(bytes, (byte) => byte.charCodeAt()));
    return this.piece(id).replace(CHARACTER, (bytes) => (bytes.length > 1 || bytes < "\x80" ? decoded(bytes) : hex(bytes)));
  }

  // One character for each byte, for the tokens of a word.
  piece(id) { return String.fromCharCode(...this.bytes[id]); }
}

// ---- words ----

const PUNCTUATION = "!\"#$%&()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~'", BLANK = " \\t\\n\\r\\f\\v";
const LETTER = `[^${BLANK}${PUNCTUATION}]`;
const STRIPPED = new RegExp(`[${PUNCTUATION}]`, "gu"), DASH = new RegExp(`[${BLANK}]-+[${BLANK}]`, "gu"), SPACED = new RegExp(`[^${BLANK}]+`, "gu");
const MARKED = new RegExp(`${LETTER}+(?:'${LETTER}+)*|\\.+|!+|\\?+|-+|[${PUNCTUATION}]`, "gu");
const lower = (text) => text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
const ESCAPES = { "\\\\": "\\", "\\n": "\n", "\\r": "\r" };

class Words {
  unit = "word";
  never = [PADDING, UNKNOWN];
  unknown = UNKNOWN;

  constructor(text, style) {
    this.words = linesOf(text).map((line) => line.replace(/\\./g, (escape) => ESCAPES[escape]));
    this.style = STYLES[style];
    this.idOf = new Map(this.words.map((word, id) => [word, id]));
    this.start = this.idOf.get(END) ?? null;
    this.ends = this.start === null ? [] : [this.start];
    this.size = this.words.length;
  }

  encode(text) { return this.style.split(text).map((word) => this.idOf.get(word) ?? UNKNOWN); }

  isSilent(id) { return id === PADDING || this.ends.includes(id); }

  writer(past = []) {
    const writer = this.style.writer(), write = (id) => (this.isSilent(id) ? "" : writer.piece(this.words[id]));
    past.forEach(write);
    return write;
  }

  textAfter(past) {
    const writer = this.style.writer();
    for (const id of past) if (!this.isSilent(id)) writer.piece(this.words[id]);
    return (id) => (this.ends.includes(id) ? END : this.isSilent(id) ? "" : writer.textOf(this.words[id]));
  }
}

class Joined {
  constructor(separator) { Object.assign(this, { separator, before: "" }); }

  piece(token) {
    const text = this.textOf(token);
    this.before = this.separator;
    return text;
  }

  textOf(token) { return this.before + token; }
}

const NO_SPACE_BEFORE = ".,!?;:)]}%", NO_SPACE_AFTER = "([{$#", QUOTES = "\"'", SENTENCE_ENDS = ".!?", RUNS = ".!?-";
const isMark = (token, marks) => token.length === 1 && marks.includes(token);
const isTight = (token) => isMark(token, "-/\\@_") || token.startsWith("---");
const isNumber = (token) => /^\p{Nd}+$/u.test(token);

// True if the next word begins a sentence; null if the tokens before decide.
function beginsSentence(token) {
  if (SENTENCE_ENDS.includes(token[0]) && (token.length === 1 || token[0] !== ".")) return true;
  return /^[\p{L}\p{N}]/u.test(token) ? false : null;
}

// Words and punctuation with spaces, quotation marks and capitals.
class Prose {
  previous = "";
  before = "";
  open = new Set();
  glued = true; // the first token needs no space
  capital = true;

  piece(token) {
    const text = this.textOf(token), closes = this.open.has(token);
    if (isMark(token, QUOTES)) this.open[closes ? "delete" : "add"](token);
    this.glued = isMark(token, NO_SPACE_AFTER) || isTight(token) || (isMark(token, QUOTES) && !closes);
    this.capital = beginsSentence(token) ?? this.capital;
    [this.before, this.previous] = [this.previous, token];
    return text;
  }

  textOf(token) { return (this.needsSpace(token) ? " " : "") + this.capitalised(token); }

  needsSpace(token) {
    if (RUNS.includes(token[0]) && this.previous[0] === token[0]) return true;
    if (this.glued || this.open.has(token) || NO_SPACE_BEFORE.includes(token[0]) || isTight(token)) return false;
    const digits = { ".": token.length, ",": 3, ":": 2 }[this.previous];
    return !(isNumber(this.before) && isNumber(token) && token.length === digits);
  }

  capitalised(token) {
    if (!/^[a-z]/.test(token)) return token;
    return this.capital || token === "i" || token.startsWith("i'") ? token[0].toUpperCase() + token.slice(1) : token;
  }
}

const STYLES = {
  words: { split: (text) => lower(text).replace(STRIPPED, "").match(SPACED) ?? [], writer: () => new Joined(" ") },
  "words+punctuation": { split: (text) => lower(text).replace(DASH, " -- ").match(MARKED) ?? [], writer: () => new Prose() },
  characters: { split: (text) => [...text], writer: () => new Joined("") },
  symbols: { split: (text) => text.match(SPACED) ?? [], writer: () => new Joined(" ") },
};
