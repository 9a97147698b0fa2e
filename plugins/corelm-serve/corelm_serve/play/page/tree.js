// A text as a tree of tokens: going back and taking another word begins a branch.

const LONGEST = 4096; // tokens; the server takes as many

export class Tree {
  constructor() {
    this.root = node({ id: null, text: "" }, null);
    this.at = this.root; // the last token before the caret
    this.end = this.root; // the last token of the branch that is shown
  }

  // The tokens from the first one to a node.
  path(node = this.at) {
    const nodes = [];
    for (; node.parent; node = node.parent) nodes.unshift(node);
    return nodes;
  }

  ids(node = this.at) {
    return this.path(node).map((each) => each.id);
  }

  // Append a token at the caret, or follow the branch that has it already.
  take(token) {
    const next = childOf(this.at, token);
    const onBranch = this.path(this.end).includes(next);
    this.at = next;
    if (!onBranch) this.end = lastOf(next);
    return next;
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
    const leaves = (node) => {
      while (node.children.length === 1) node = node.children[0];
      return node.children.length ? node.children.flatMap(leaves) : [node];
    };
    return leaves(this.root);
  }

  // The tokens as lists: ids in a row, and last, where the text parts, the list of its branches.
  get saved() {
    const run = (node) => {
      const ids = [];
      while (node.children.length === 1) ids.push((node = node.children[0]).id);
      return node.children.length ? [...ids, node.children.map((child) => [child.id, ...run(child)])] : ids;
    };
    return { tokens: run(this.root), branch: this.branches.indexOf(this.end), at: this.path().length };
  }

  // Read what `saved` wrote; the texts of the tokens aren't in it, and are null.
  static from({ tokens = [], branch, at }) {
    const tree = new Tree();
    grow(tree.root, tokens);
    const leaves = tree.branches;
    tree.end = leaves[branch] ?? leaves.at(-1);
    const path = [tree.root, ...tree.path(tree.end)];
    tree.at = path[at] ?? path.at(-1);
    return tree;
  }
}

const node = ({ id, text, end = false, surprisal = null }, parent) => ({ id, text, end, surprisal, parent, children: [] });

function childOf(parent, token) {
  const child = parent.children.find((each) => each.id === token.id);
  if (!child) parent.children.push(node(token, parent));
  return child ?? parent.children.at(-1);
}

function grow(node, tokens, length = 0) {
  if (!Array.isArray(tokens)) throw new Error("its tokens are no list");
  if (length + tokens.length > LONGEST) throw new Error(`its text is longer than ${LONGEST} tokens`);
  for (const each of tokens) {
    if (Array.isArray(each)) each.forEach((branch) => grow(node, branch, length + tokens.length - 1));
    else if (Number.isSafeInteger(each) && each >= 0) node = childOf(node, { id: each, text: null });
    else throw new Error("its tokens are no numbers");
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
