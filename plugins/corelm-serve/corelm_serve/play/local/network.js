// A network of layers, as corelm.interop.network_file describes it, and the text that it has read.

const PANEL = 16; // columns

export class Network {
  constructor(kernels, { context, cache, arrays, reader, head }, data) {
    Object.assign(this, { kernels, context, read: [] });
    const singles = [];
    for (const { dtype, count, offset, panels_of: tied, inputs } of arrays) {
      if (tied !== undefined) singles.push(panelsOf(singles[tied], inputs));
      else if (dtype === "F32") singles.push(new Float32Array(data, offset, count));
      else singles.push(new Float32Array(new Float16Array(data, offset, count)));
    }
    const addresses = singles.map((each) => kernels.put(each));
    const graph = ({ nodes, widths }) => {
      const numbers = Int32Array.from(nodes.flat(), (each) => (each < 0 ? addresses[-1 - each] : each));
      return [kernels.put(numbers), nodes.length, kernels.put(Int32Array.from(widths)), widths.length];
    };
    if (!kernels.exports.take_network(...graph(reader), ...graph(head), kernels.put(Int32Array.from(cache)))) throw new Error("memory ran out");
    this.window = kernels.room(8 * context);
  }

  // The logits after a text. What it shares with the last one isn't read again.
  after(ids) {
    const window = ids.slice(windowStart(ids.length, this.context));
    let common = 0;
    while (common < window.length - 1 && this.read[common] === window[common]) common++;
    const { kernels } = this;
    kernels.put(BigInt64Array.from(window, BigInt), this.window);
    this.read = []; // as long as this fails
    if (!kernels.exports.read(this.window, window.length, window.length - common, kernels.output)) throw new Error("memory ran out");
    this.read = window;
    return kernels.view(Float32Array, kernels.output, kernels.vocabulary).slice();
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
