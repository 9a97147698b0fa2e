// A network of layers, as corelm.interop.network_file describes it, and the text that it has read.

const PANEL = 16, NODE = 8, LAYER = { EMBED: 0, MULTIPLY: 1, NORMALISE: 2, ATTEND: 3 };

// The value of each half-precision number.
const HALVES = Float32Array.from({ length: 1 << 16 }, (_, bits) => {
  const sign = bits >> 15 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : (2 ** -14 * fraction) / 1024);
});

export class Network {
  constructor(kernels, { context, cache, reader, head, arrays }, data) {
    Object.assign(this, { kernels, context, read: [] });
    this.vocabulary = head.widths[head.nodes.at(-1)[1]];
    const singles = arrays.map(({ dtype, count, offset }) => (dtype === "F32"
      ? new Float32Array(data, offset, count) : Float32Array.from(new Uint16Array(data, offset, count), (bits) => HALVES[bits])));
    const places = new Map(), at = (key, make) => { if (!places.has(key)) places.set(key, kernels.put(make())); return places.get(key); };
    const entry = (value) => {
      if (value?.array !== undefined) return at(value.array, () => singles[value.array]);
      if (value?.panels_of !== undefined) return at(`panels ${value.panels_of}`, () => panelsOf(singles[value.panels_of], reader.widths[reader.nodes.at(-1)[1]]));
      return value === null ? 0 : Number.isInteger(value) ? value : new Int32Array(Float32Array.of(value).buffer)[0];
    };
    const graph = ({ nodes, widths }) => {
      const numbers = nodes.flatMap(([layer, output, inputs, ...own]) => {
        const values = own.map(entry);
        if (layer === LAYER.EMBED) values[2] = this.vocabulary;
        if (layer === LAYER.NORMALISE) values[2] = new Int32Array(Float32Array.of(own[2]).buffer)[0];
        return [layer, output, inputs.length, inputs[0] ?? 0, inputs[1] ?? 0, ...values];
      });
      return [kernels.put(Int32Array.from(numbers)), numbers.length / NODE, kernels.put(Int32Array.from(widths)), widths.length];
    };
    this.address = kernels.exports.network(...graph(reader), ...graph(head), kernels.put(Int32Array.from(cache)));
    if (!this.address) throw new Error("memory ran out");
    this.window = kernels.room(8 * context);
    this.logits = kernels.room(4 * this.vocabulary);
  }

  // The logits after a text. What it shares with the last one isn't read again.
  after(ids) {
    const window = ids.slice(windowStart(ids.length, this.context));
    let common = 0;
    while (common < window.length - 1 && this.read[common] === window[common]) common++;
    const { kernels } = this;
    kernels.ids.set(window.map(BigInt), this.window / 8);
    this.read = [];
    if (!kernels.exports.read(this.address, this.window, window.length, window.length - common, 1, this.logits)) throw new Error("memory ran out");
    this.read = window;
    return kernels.singles.slice(this.logits / 4, this.logits / 4 + this.vocabulary);
  }
}

// The panels of the transpose of (units, inputs), as the kernel `pack` stores them.
function panelsOf(matrix, inputs) {
  const units = matrix.length / inputs, panels = new Float32Array(Math.ceil(units / PANEL) * PANEL * inputs);
  for (let unit = 0; unit < units; unit++) {
    const start = (unit - (unit % PANEL)) * inputs + (unit % PANEL);
    for (let input = 0; input < inputs; input++) panels[start + input * PANEL] = matrix[unit * inputs + input];
  }
  return panels;
}

// Where the window of a text begins; corelm.contracts.language_model has the reason.
function windowStart(length, context) {
  const hop = Math.max(Math.floor(context / 2), 1);
  return length <= context ? 0 : Math.ceil((length - context) / hop) * hop;
}
