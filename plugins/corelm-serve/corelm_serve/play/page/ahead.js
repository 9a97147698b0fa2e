// What could follow: a tree of the likeliest words, opened word by word.

import { h, visible } from "./dom.js";

const MOST_OPENED = 32, DEEPEST_OPENED = 16; // as many as the server lists
const ITEM = "[role=treeitem]";
const key = (path) => path.join();
const pathOf = (item) => item.dataset.path.split(",").map(Number);

export class AheadView {
  // `take` goes on along a path of words; `opened` is called with the paths whose words are listed.
  constructor(list, { take, opened }) {
    Object.assign(this, { list, take, opened });
    list.addEventListener("keydown", (event) => this.move(event));
  }

  show(nodes) {
    const focused = this.list.contains(document.activeElement) ? document.activeElement.dataset.path : null;
    const byPath = new Map(nodes.map((node) => [key(node.path), node]));
    this.list.replaceChildren(...this.items(byPath, [], 1));
    const items = this.list.querySelectorAll(ITEM);
    this.paths = [...items].filter((each) => each.ariaExpanded === "true").map(pathOf);
    const stop = [...items].find((each) => each.dataset.path === focused) ?? items[0];
    stopAt(items, stop); // of shared.js
    if (focused !== null) stop?.focus({ preventScroll: true });
  }

  // The words after some words, whose probability is `before`.
  items(byPath, words, before) {
    const path = words.map(({ id }) => id), node = byPath.get(key(path));
    if (node.error) return [h("li", { role: "none", class: "error" }, node.error)];
    return node.words.map((word) => this.item(byPath, [...words, word], word.probability, before * word.probability));
  }

  item(byPath, words, probability, together) {
    const word = words.at(-1), path = words.map(({ id }) => id), isOpen = byPath.has(key(path));
    const opens = !word.end && words.length < DEEPEST_OPENED;
    const figures = [share(probability), ...(words.length > 1 ? [share(together)] : [])];
    const button = h("button", {
      type: "button", role: "treeitem", data: { path: key(path) }, onclick: () => this.take(words),
      "aria-expanded": opens ? String(isOpen) : null, "aria-level": String(words.length),
      "aria-label": `${visible(word)}, ${figures.join(", all up to here ")}`,
    }, h("span", { class: "ahead-word" }, visible(word)), h("span", { class: "ahead-bar" }, h("i", {})), ...[figures[0], figures[1] ?? ""].map((each) => h("span", { class: "ahead-share" }, each)));
    button.style.setProperty("--level", words.length);
    button.querySelector("i").style.width = `${100 * probability}%`;
    // By mouse; keys have the arrows.
    const twist = h("span", { class: "twist", "aria-hidden": "true", onclick: () => this.toggle(path, !isOpen) }, !opens ? "" : isOpen ? "▾" : "▸");
    return h("li", { role: "none" }, h("div", {}, twist, button), isOpen ? h("ul", { role: "group" }, this.items(byPath, words, together)) : null);
  }

  toggle(path, opens) {
    const inside = (each) => path.every((id, at) => each[at] === id);
    this.opened(opens ? [...this.paths, path].slice(-MOST_OPENED) : this.paths.filter((each) => !inside(each)));
  }

  move(event) {
    const items = [...this.list.querySelectorAll(ITEM)], at = items.indexOf(event.target);
    if (at < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const path = pathOf(event.target), isOpen = event.target.getAttribute("aria-expanded");
    const parent = items.findIndex((each) => each.dataset.path === key(path.slice(0, -1)));
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1, ArrowRight: at + 1, ArrowLeft: parent }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    if (event.key === (isOpen === "true" ? "ArrowLeft" : "ArrowRight")) { if (isOpen) this.toggle(path, isOpen === "false"); }
    else if (items[to]) { stopAt(items, items[to]); items[to].focus(); }
  }
}

// The opened paths when the caret has moved: where the text goes on, those that lead on from there.
// Null, as at first, for the likeliest words.
export function after(paths, before, now) {
  const words = now.slice(before.length), goesOn = before.every((id, at) => now[at] === id);
  if (!paths || (goesOn && !words.length)) return paths;
  const rest = goesOn ? paths.filter((path) => path.length > words.length && words.every((id, at) => path[at] === id)) : [];
  return rest.length ? rest.map((path) => path.slice(words.length)) : null;
}
