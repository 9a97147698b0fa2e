// The branches of a text, labelled by the words where they part.

import { h, visible } from "./dom.js";

const MOST_WORDS = 7;
export const BRANCH = "[role=treeitem]";

export function showBranches(box, tree, follow) {
  const several = tree.branches.length > 1;
  box.hidden = !several;
  if (!several) return;
  const onPath = new Set(tree.path(tree.end));
  const list = box.querySelector("ul");
  const focused = list.contains(document.activeElement);
  list.replaceChildren(...parts(tree.root, onPath, follow));
  const current = [...list.querySelectorAll("[aria-selected=true]")].at(-1) ?? list.querySelector(BRANCH);
  stopAt(list.querySelectorAll(BRANCH), current); // of shared.js
  if (focused) current?.focus();
}

// The branches that begin at the next place where the text parts.
function parts(node, onPath, follow) {
  while (node.children.length === 1) node = node.children[0];
  return node.children.map((child) => {
    const words = [];
    let end = child;
    for (;; end = end.children[0]) {
      words.push(visible(end));
      if (end.children.length !== 1) break;
    }
    const label = words.slice(0, MOST_WORDS).join(" ") + (words.length > MOST_WORDS ? " …" : "");
    const inner = parts(end, onPath, follow);
    const item = h("li", { role: "none" },
      h("button", { type: "button", role: "treeitem", "aria-selected": String(onPath.has(child)), onclick: () => follow(child) }, label),
      inner.length ? h("ul", { role: "group" }, inner) : null);
    return item;
  });
}
