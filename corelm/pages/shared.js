"use strict";
// Shared by every page of corelm: word cards, entropies on their scale, bars, numbers, menus, downloads.

// Write a share as Python's `share` does.
function share(p) {
  if (p === 0 || p === 1) return p === 0 ? "0" : "100%";
  if (p < 0.0001) return "<0.01%";
  return p < 0.01 ? (100 * p).toFixed(2) + "%" : (100 * Math.min(p, 0.999)).toFixed(1) + "%";
}

// Create an element with attributes and children.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// Let Tab stop at one element of a group.
function stopAt(elements, stop) {
  for (const each of elements) each.tabIndex = each === stop ? 0 : -1;
}

// Make Tab stop once in a group; arrow keys, Home and End move among what a selector finds in it.
// A group whose elements are drawn again calls `stopAt` for them.
function rove(group, selector) {
  const inside = () => [...group.querySelectorAll(selector)];
  stopAt(inside(), group.querySelector(selector));
  group.addEventListener("keydown", (event) => {
    const elements = inside(), from = elements.indexOf(document.activeElement);
    const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -from, End: elements.length - 1 - from };
    const to = from < 0 ? null : elements[from + steps[event.key]];
    if (!to || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    stopAt(elements, to);
    to.focus();
  });
}

// Give the words of a text their keys; Escape closes a card.
function readWords(text) {
  rove(text, ":scope > span");
  text.addEventListener("keydown", (event) => {
    if (event.key === "Escape") document.activeElement.blur();
  });
}

// Move the mark of an entropy strip.
function drawStrip(strip, at, low = 0, high = 0) {
  for (const [name, value] of Object.entries({ at, low, high })) strip.style.setProperty(`--${name}`, `${value}%`);
}

// Draw the row of one token: the bar of q, the mark of p, the number. `longest` fills the row.
function drawBar(row, q, p, longest) {
  const [, bar, number] = row.children;
  bar.querySelector("i").style.width = `${(100 * (q ?? 0)) / longest}%`;
  bar.querySelector("b").style.left = `${(100 * p) / longest}%`;
  number.textContent = share(q ?? 0);
  row.classList.toggle("out", q === undefined);
}

// Save a text or a blob as a file.
function save(name, content, type) {
  const address = URL.createObjectURL(new Blob([content], { type }));
  make("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

// Make the menu that saves a picture; each of its forms has a name, a meaning, and what saves it.
function saveMenu(title, forms) {
  const button = make("button", { type: "button", "aria-haspopup": "menu", "aria-expanded": "false", "aria-label": `Save ${title}` }, "Save");
  const items = forms.map(([form, meaning]) => make("button", { type: "button", role: "menuitem" }, form, make("small", {}, meaning)));
  const list = make("div", { role: "menu", "aria-label": `Save ${title} as` }, ...items);
  const whole = make("div", { class: "menu" }, button, list);
  const open = (now) => {
    list.hidden = !now;
    button.setAttribute("aria-expanded", now);
    if (now) items[0].focus();
  };
  open(false);
  rove(list, "button");
  button.addEventListener("click", () => open(list.hidden));
  whole.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" && event.target === button) open(true);
    else if (event.key === "Escape" && !list.hidden) open(false), button.focus();
    else return;
    event.preventDefault();
  });
  whole.addEventListener("focusout", ({ relatedTarget }) => {
    if (!whole.contains(relatedTarget)) open(false);
  });
  forms.forEach(([, , write], i) =>
    items[i].addEventListener("click", () => {
      write();
      open(false);
      button.focus();
    }),
  );
  return whole;
}

document.querySelectorAll(".words:not(.plain)").forEach(readWords);
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && document.activeElement.matches(".term")) document.activeElement.blur();
});
