// Words as tokens: corelm.tokens.names, and marks in a text: corelm.tokens.texts.

const LETTER = "[0-9A-Za-z_]|[\\xc3-\\xdf][\\x80-\\xbf]|\\xe0[\\xa0-\\xb7][\\x80-\\xbf]|\\xe1[\\x83-\\x9d\\xa0-\\xbf][\\x80-\\xbf]|[\\xea-\\xed][\\x80-\\xbf]{2}";
const BEFORE = LETTER.split("|").map((bytes) => `(?<!${bytes})`).join("");
const BEGINS = new RegExp(`^(?:${LETTER})`), ENDS = new RegExp(`(?:${LETTER})$`);
const asBytes = (text) => String.fromCharCode(...new TextEncoder().encode(text));
const SPACED = [...".,;:!?)]}%\u201d\u2019"].map(asBytes);
const MARGIN = 4; // bytes before a word that decide if it is a whole one
const AFTER_WORD = "a";

const cached = new WeakMap();

export function namesOf(vocabulary) {
  if (!cached.has(vocabulary)) cached.set(vocabulary, new TokenNames(vocabulary));
  return cached.get(vocabulary);
}

class TokenNames {
  constructor(vocabulary) {
    Object.assign(this, { vocabulary, lists: new Map() });
    this.hasTexts = "bytes" in vocabulary; // else a token's text depends on its neighbours, and its id stands for it
    this.pieces = Array.from({ length: vocabulary.size }, (_, id) => (this.hasTexts ? vocabulary.piece(id) : String.fromCodePoint(id)));
  }

  text(ids) { return ids.map((id) => this.pieces[id] ?? "").join(""); }

  encoded(token) {
    if (typeof token !== "string") return [token];
    const ids = this.vocabulary.encode(token);
    return this.vocabulary.unknown !== null && ids.includes(this.vocabulary.unknown) ? [] : ids;
  }

  ids(token) {
    const ids = this.encoded(token), wrong = ids.find((id) => !(id >= 0 && id < this.vocabulary.size));
    if (!ids.length) throw new Error(`the vocabulary of this model does not have '${token}'; leave it out`);
    if (wrong !== undefined) throw new Error(`there is no token ${wrong}; the ids go from 0 to ${this.vocabulary.size - 1}`);
    return ids;
  }

  // The tokens that write a word by themselves, in some context.
  alone(token) {
    const completing = this.completingOf([token]), alone = new Set([...(completing.get(" ") ?? []), ...(completing.get("!") ?? [])]);
    if (alone.size) return alone;
    const parts = this.written([token]).map((id) => `'${this.vocabulary.writer()(id)}'`);
    throw new Error(`'${token}' is ${parts.length} tokens (${parts.join(", ")}); give each of them by itself`);
  }

  existing(tokens) {
    return new Set(tokens.filter((token) => this.encoded(token).length).flatMap((each) => (typeof each === "string" ? [...this.alone(each)] : [each])));
  }

  // The tokens that would complete a word after a text.
  completing(words, past) {
    const completing = this.completingOf(words), ids = new Set(completing.get(" "));
    const text = this.text(past.slice(-(1 + Math.max(MARGIN, ...[...completing.keys()].map((key) => key.length + MARGIN)))));
    for (let at = 0; at <= text.length; at++) {
      const add = (kind) => completing.get(kind + text.slice(at))?.forEach((id) => ids.add(id));
      add(" ");
      if (!ENDS.test(text.slice(0, at))) add("!");
    }
    return [...ids].sort((a, b) => a - b);
  }

  // Tokens by the beginning of a word that they continue, after "!" if it may not follow a letter, else " ".
  completingOf(words) {
    const key = JSON.stringify(words);
    if (!this.lists.has(key)) {
      const completing = new Map();
      const add = (beginning, id) => { if (!completing.has(beginning)) completing.set(beginning, new Set()); completing.get(beginning).add(id); };
      for (const word of words) {
        const ids = this.ids(word);
        if (typeof word === "string") this.continuations(word, ids, add);
        else ids.forEach((id) => add(" ", id));
      }
      this.lists.set(key, completing);
    }
    return this.lists.get(key);
  }

  continuations(word, ids, add) {
    const write = this.vocabulary.writer(), written = ids.map(write).join("");
    if (ids.length === 1 && !written) return add(" ", ids[0]); // a special token has no text of its own
    if (!["", word.trim()].includes(written.trim())) word = written.replace(/^ +/, "");
    const { hasTexts } = this, text = hasTexts ? asBytes(word) : this.text(ids);
    const begins = hasTexts && BEGINS.test(text), after = hasTexts && ENDS.test(text) ? `(?!${LETTER})` : "";
    const source = (begins ? BEFORE : "") + text.replace(/[.*+?^${}()|[\]\\/-]/g, "\\$&") + after;
    const whole = new RegExp(source, "s"), here = new RegExp(source, "sy");
    const isAt = (at, all) => { here.lastIndex = at; return here.test(all); };
    this.pieces.forEach((piece, id) => {
      if (piece.includes(text) && whole.test(piece)) add(begins && !whole.test(AFTER_WORD + piece) ? "!" : " ", id);
      for (let at = 1; at < text.length; at++) {
        if (piece.startsWith(text.slice(at)) && isAt(0, text.slice(0, at) + piece)) add((begins ? "!" : " ") + text.slice(0, at), id);
      }
    });
  }

  // The ids that write words one after the other; `past` is null for a place after a word.
  written(words, past = null) {
    const ids = [];
    for (const word of words) {
      const plain = this.ids(word), isText = typeof word === "string" && (past === null || ids.length || past.length);
      const before = (past === null ? AFTER_WORD : this.text(past.slice(-MARGIN))) + this.text(ids);
      ids.push(...(isText ? this.writtenAfter(word, before) : plain));
    }
    return ids;
  }

  writtenAfter(word, before) {
    const { vocabulary, hasTexts } = this, isSpaced = BEGINS.test(asBytes(word)) && (ENDS.test(before) || SPACED.some((mark) => before.endsWith(mark)));
    const text = hasTexts && isSpaced ? ` ${word}` : word;
    for (const mark of hasTexts ? ["", "("] : []) {
      const ids = vocabulary.encode(mark + text).slice(vocabulary.encode(mark).length);
      if (this.text(ids) === asBytes(text)) return ids;
    }
    return vocabulary.encode(text);
  }
}

// How many tokens of a text end with each mark, one mark after another, and the first again after the
// last. A mark is a text or an id.
export function findInTurn(tokens, marks, vocabulary) {
  const isOfBytes = "bytes" in vocabulary, write = isOfBytes ? (id) => vocabulary.piece(id) : vocabulary.writer();
  const searched = marks.map((mark) => {
    if (typeof mark !== "string") return { text: null, id: mark };
    const ids = vocabulary.encode(mark), isSpecial = ids.length === 1 && ids[0] !== vocabulary.unknown && !vocabulary.writer()(ids[0]);
    return { text: isOfBytes ? asBytes(mark) : mark, id: isSpecial ? ids[0] : null };
  });
  const places = [], longest = Math.max(1, ...searched.map(({ text }) => text?.length ?? 0)), next = () => searched[places.length % searched.length];
  let tail = "";
  tokens.forEach((token, at) => {
    const piece = write(token);
    if (token === next().id) {
      places.push(at + 1);
      tail = "";
      return;
    }
    tail += piece;
    for (let { text } = next(); text && tail.includes(text); { text } = next()) {
      places.push(at + 1);
      tail = tail.slice(tail.indexOf(text) + text.length);
    }
    tail = tail.slice(-longest);
  });
  return places;
}
