// The kernels as WebAssembly: arrays in their memory, stages of rows, draws, random numbers.

const ERROR_ROOM = 200, PARAMETER = 24; // bytes: of an error, and of a `struct parameter`
const IDS = 8, NUMBERS = 12, FLAGS = 16, COUNT = 20; // where in it

// The kernels of the first code that this browser runs and whose sums round once, as Python's do.
export async function kernelsOf(codes) {
  for (const code of codes) {
    const exports = WebAssembly.validate(code) && (await exportsOf(code));
    if (exports && exports.rounds_once()) return new Kernels(exports);
  }
  throw new Error("this browser runs no WebAssembly with vectors; update it");
}

// WASI's functions are never called: nothing here reads a file or prints.
async function exportsOf(code) {
  const module = await WebAssembly.compile(code), nothing = () => 0;
  const imports = {};
  for (const { module: from, name } of WebAssembly.Module.imports(module)) (imports[from] ??= {})[name] = nothing;
  const { exports } = await WebAssembly.instantiate(module, imports);
  exports._initialize?.();
  return exports;
}

export class Kernels {
  constructor(exports) {
    Object.assign(this, { exports, names: new Map() });
    this.error = exports.allocate(ERROR_ROOM);
    this.parameters = exports.allocate(8 * PARAMETER);
  }

  // Views of the memory, which are new after it has grown.
  get singles() { return this.view("f32", Float32Array); }
  get doubles() { return this.view("f64", Float64Array); }
  get words() { return this.view("i32", Int32Array); }
  get ids() { return this.view("i64", BigInt64Array); }
  get bytes() { return this.view("u8", Uint8Array); }

  view(name, Type) {
    const { buffer } = this.exports.memory;
    if (this[`_${name}`]?.buffer !== buffer) this[`_${name}`] = new Type(buffer);
    return this[`_${name}`];
  }

  // Room for some bytes, whose owner releases it.
  room(bytes) {
    const at = this.exports.allocate(bytes || 1);
    if (!at) throw new Error("memory ran out");
    return at;
  }

  release(at) { this.exports.release(at); }

  // Copy an array into the memory.
  put(array) {
    const at = this.room(array.byteLength);
    this.bytes.set(new Uint8Array(array.buffer, array.byteOffset, array.byteLength), at);
    return at;
  }

  // Do some work with a row in the memory, and room for another.
  withRow(row, work) {
    const input = this.put(row), out = this.room(row.byteLength);
    try {
      return work(input, out);
    } finally {
      this.release(input);
      this.release(out);
    }
  }

  // Apply a kernel to a row of logits. An argument is a number, `{ ids }` or `{ numbers }`.
  stage(row, name, ...of) {
    const lists = [];
    const listed = (array) => { lists.push(this.put(array)); return lists.at(-1); };
    if (!this.names.has(name)) this.names.set(name, this.put(new TextEncoder().encode(`${name}\0`)));
    return this.withRow(row, (input, out) => {
      of.forEach((each, index) => {
        const at = this.parameters + index * PARAMETER, isList = typeof each === "object";
        const ids = each.ids ? listed(BigInt64Array.from(each.ids, BigInt)) : 0;
        const numbers = each.numbers ? listed(Float64Array.from(each.numbers)) : 0;
        this.doubles[at / 8] = isList ? 0 : each;
        for (const [place, value] of [[IDS, ids], [NUMBERS, numbers], [FLAGS, 0], [COUNT, (each.ids ?? each.numbers)?.length ?? 0]]) this.words[(at + place) / 4] = value;
      });
      const works = this.exports.stage(this.names.get(name), this.parameters, of.length, input, row.length, out, this.error);
      lists.forEach((list) => this.release(list));
      if (!works) throw new Error(`${name} leaves no distribution`);
      return this.singles.slice(out / 4, out / 4 + row.length);
    });
  }

  // Draw a token by a uniform number: its id and its surprisal; null where the row is no distribution.
  draw(row, uniform) {
    return this.withRow(row, (input, out) => {
      const id = this.exports.draw(input, row.length, uniform, out);
      return id < 0 ? null : { id, surprisal: this.doubles[out / 8] };
    });
  }

  // The surprisal of a token in nats.
  surprisal(row, id) { return this.withRow(row, (input) => this.exports.surprisal(input, row.length, id)); }

  // The first uniform numbers of a text, those of corelm.RandomStream(seed, [sample]).
  uniforms(seed, sample, count) {
    const at = this.room(8 * count);
    this.exports.uniforms(seed, sample, at, count);
    const numbers = this.doubles.slice(at / 8, at / 8 + count);
    this.release(at);
    return numbers;
  }
}
