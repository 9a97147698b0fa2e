// The kernels as WebAssembly: stages of rows, draws.

const MOST_PARAMETERS = 8, PARAMETER = 24; // bytes of a `struct parameter`
const LONGEST_LIST = 4096; // tokens of a text

// The first code that this browser runs and whose sums round once, as Python's do.
export async function runningCode(codes) {
  for (const code of codes.filter((each) => WebAssembly.validate(each))) {
    const module = await WebAssembly.compile(code), imports = {};
    // WASI's functions are never called: nothing here reads a file or prints.
    for (const { module: from, name } of WebAssembly.Module.imports(module)) (imports[from] ??= {})[name] = () => 0;
    const { exports } = await WebAssembly.instantiate(module, imports);
    exports._initialize?.();
    if (exports.rounds_once()) return exports;
  }
  throw new Error("this browser runs no WebAssembly with vectors; update it");
}

// The memory of the kernels: what is put there stays, and each call has the same room for a row and its lists.
export class Kernels {
  constructor(exports, vocabulary) {
    Object.assign(this, { exports, vocabulary, names: new Map() });
    this.parameters = this.room(MOST_PARAMETERS * PARAMETER);
    this.input = this.room(4 * vocabulary);
    this.output = this.room(4 * vocabulary);
    this.nats = this.room(8);
    this.lists = [this.room(8 * (vocabulary + LONGEST_LIST)), this.room(8 * (vocabulary + LONGEST_LIST))];
  }

  // A view of the memory, which is another one after it has grown.
  view(Type, at, length) { return new Type(this.exports.memory.buffer, at, length); }

  room(bytes) {
    const at = this.exports.allocate(bytes || 1);
    if (!at) throw new Error("memory ran out");
    return at;
  }

  // Copy an array into the memory.
  put(array, at = this.room(array.byteLength)) {
    this.view(array.constructor, at, array.length).set(array);
    return at;
  }

  // Apply a kernel to a row of logits. An argument is a number, `{ ids }` or `{ numbers }`.
  stage(row, name, ...of) {
    if (!this.names.has(name)) this.names.set(name, this.put(new TextEncoder().encode(`${name}\0`)));
    this.put(row, this.input);
    of.forEach((each, at) => this.putParameter(this.parameters + at * PARAMETER, each));
    if (!this.exports.stage(this.names.get(name), this.parameters, of.length, this.input, row.length, this.output)) throw new Error(`${name} leaves no distribution`);
    return this.view(Float32Array, this.output, row.length).slice();
  }

  // Write a `struct parameter`: a number, and the addresses of ids, numbers and flags with their count.
  putParameter(at, of) {
    const ids = of.ids ? this.put(BigInt64Array.from(of.ids, BigInt), this.lists[0]) : 0;
    const numbers = of.numbers ? this.put(Float64Array.from(of.numbers), this.lists[1]) : 0;
    this.view(Float64Array, at, 1)[0] = typeof of === "number" ? of : 0;
    this.view(Int32Array, at + 8, 4).set([ids, numbers, 0, (of.ids ?? of.numbers ?? []).length]);
  }

  // Draw a token by a uniform number: its id and its surprisal; null where the row is no distribution.
  draw(row, uniform) {
    const id = this.exports.draw(this.put(row, this.input), row.length, uniform, this.nats);
    return id < 0 ? null : { id, surprisal: this.view(Float64Array, this.nats, 1)[0] };
  }

  // The surprisal of a token in nats.
  surprisal(row, id) { return this.exports.surprisal(this.put(row, this.input), row.length, id); }
}
