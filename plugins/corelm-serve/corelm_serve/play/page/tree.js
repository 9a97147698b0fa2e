// A text as a tree of tokens: going back and taking another word begins a branch.

export class Tree {
  constructor() {
    this.root = { id: null, text: "", end: false, surprisal: null, parent: null, children: [] };
    this.at = this.root; // the last token before the caret
    this.end = this.root; // the last token of the branch that is shown
  }

  // The tokens from the first one to a node.
  path(node = this.at) {
    const found = [];
    for (; node.parent; node = node.parent) found.unshift(node);
    return found;
  }

  ids(node = this.at) {
    return this.path(node).map((each) => each.id);
  }

  // Append a token at the caret, or follow the branch that has it already.
  take({ id, text, end = false, surprisal = null }) {
    let next = this.at.children.find((child) => child.id === id);
    const onBranch = next && this.path(this.end).includes(next);
    if (!next) {
      next = { id, text, end, surprisal, parent: this.at, children: [] };
      this.at.children.push(next);
    }
    this.at = next;
    if (!onBranch) this.end = lastOf(next);
    return next;
  }

  undo() {
    if (this.at.parent) this.at = this.at.parent;
  }

  goTo(node) {
    this.at = node;
    if (node !== this.root && !this.path(this.end).includes(node)) this.end = lastOf(node);
  }

  // Show a branch as a whole.
  follow(node) {
    this.end = this.at = lastOf(node);
  }

  get branches() {
    const leaves = (node) => (node.children.length ? node.children.flatMap(leaves) : [node]);
    return leaves(this.root);
  }
}

function lastOf(node) {
  while (node.children.length) node = node.children.at(-1);
  return node;
}

// The first place where two texts differ; null if one begins with the other.
export function partsAt(one, other) {
  const shared = Math.min(one.length, other.length);
  for (let at = 0; at < shared; at++) if (one[at].id !== other[at].id) return at;
  return null;
}
