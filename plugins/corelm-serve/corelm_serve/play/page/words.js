// The text: each word coloured by its surprisal, with the words that could have stood there.

import { byId, debounced, h, visible } from "./dom.js";
import { watched } from "./notices.js";

const PUNCTUATION = /^[^\s\p{L}\p{N}]+$/u;

let opener; // the word, of either chain, whose card was opened last

export class WordsView {
  // `alternatives(node)` asks for the words at a node's place; `take`, `goTo` and `type` change the
  // text.
  constructor(box, { levels, alternatives, take, goTo, type }) {
    this.box = box;
    this.levels = levels; // nats at which a word is one shade darker, and its line thicker
    this.on = { alternatives, take, goTo };
    this.caret = h("input", {
      type: "text", class: "caret", size: "9", placeholder: "type on…", "aria-label": "Type on from here; Enter takes it",
      spellcheck: "false", autocomplete: "off",
      onkeydown: (event) => { if (event.key === "Enter" && this.caret.value.trim()) { type(this.caret.value); this.caret.value = ""; } },
    });
    this.focusAt = null; // the word to focus when the words are drawn next
    this.card = byId("alternatives");
    rove(this.box, ".word"); // of shared.js
    this.peek = debounced(250, (button, node) => { if (button.matches(":hover, :focus")) this.open(button, node, false); });
  }

  // Show the path to the end of a branch; words behind the caret are faint, `different` is marked.
  show(tree, different = null) {
    const focused = this.box.contains(document.activeElement) ? document.activeElement : null;
    const path = tree.path(tree.end), caret = tree.path().length;
    const parts = [];
    for (let at = 0; at <= path.length; at++) {
      if (at === caret) parts.push(caret ? " " : "", this.caret, " ");
      if (at === path.length) break;
      const node = path[at], word = this.word(node, at, caret, different);
      const space = /^\s*/.exec(node.text ?? "…")[0]; // outside the button, or a line could begin with it
      if (at > 0 && at !== caret && PUNCTUATION.test(node.text ?? "")) parts.push(h("bdi", {}, parts.pop(), word)); // on one line
      else parts.push(at === 0 || space === node.text ? "" : space, word);
    }
    this.box.replaceChildren(...parts);
    stopAt(this.box.querySelectorAll(".word"), this.box.querySelector(".word:not(.later)") ?? this.box.querySelector(".word"));
    if (focused === this.caret) this.caret.focus();
    else if (focused || this.focusAt !== null) this.box.querySelector(`[data-at="${Math.min(this.focusAt ?? focused.dataset.at, path.length - 1)}"]`)?.focus();
    this.focusAt = null;
    this.box.scrollTop = this.caret.offsetTop - this.box.clientHeight / 2;
  }

  word(node, at, caret, different) {
    const nats = node.surprisal;
    const classes = ["word", `s${nats === null ? this.levels.length : this.levels.filter((each) => nats >= each).length}`, at >= caret ? "later" : "", at === different ? "differs" : ""];
    const label = nats === null ? "never drawn by the model itself" : `surprisal ${nats.toFixed(2)} nats`;
    const button = h("button", {
      type: "button", class: classes.filter(Boolean).join(" "), data: { at: String(at) },
      "aria-label": `${visible(node)}, ${label}`,
      onclick: () => this.open(button, node, true), onpointerenter: () => this.peek(button, node),
      // Walking along the words shows what was possible; coming back from the card does not.
      onfocus: (event) => { if (event.relatedTarget && !this.card.contains(event.relatedTarget)) this.peek(button, node); },
    }, (node.text ?? "").trim() ? node.text.trimStart() : visible(node));
    return button;
  }

  async open(button, node, pinned) {
    opener = button;
    this.card.replaceChildren(h("p", {}, "…"));
    this.place(button);
    const reply = await watched("alternatives", () => this.on.alternatives(node)), { words = [], error } = reply?.nodes[0] ?? {};
    if (opener !== button || !this.card.matches(":popover-open")) return;
    this.card.replaceChildren(h("div", {},
      h("p", {}, node.surprisal === null ? "The model itself never draws it." : `${node.surprisal.toFixed(2)} nats under the model`),
      error ? h("p", { class: "error" }, error) : null,
      h("ul", {}, words.map((each) => h("li", {},
        h("button", { type: "button", class: each.id === node.id ? "current" : "", onclick: () => this.leave(button, () => this.on.take(node, each)) },
          h("span", {}, visible(each)), h("small", {}, share(each.probability)))))),
      h("button", { type: "button", onclick: () => this.leave(button, () => this.on.goTo(node)) }, "Go back to before this word")));
    this.place(button);
    stopAt(this.card.querySelectorAll("button"), this.card.querySelector("button"));
    if (pinned) this.card.querySelector("button").focus();
  }

  // Close the card for an action, after which the focus is at the word's place again.
  leave(button, act) {
    this.focusAt = Number(button.dataset.at);
    this.close();
    act();
  }

  place(button) {
    const at = button.getBoundingClientRect();
    this.card.togglePopover(true);
    const width = this.card.offsetWidth;
    const left = Math.min(at.left, document.documentElement.clientWidth - width - 8);
    this.card.style.left = `${Math.max(8, left) + window.scrollX}px`;
    this.card.style.top = `${at.bottom + window.scrollY + 2}px`;
  }

  close() {
    this.card.hidePopover();
  }
}
