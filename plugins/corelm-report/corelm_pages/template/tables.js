// Tables: sort by a heading, filter by name, fold the settings of a sweep and, on a telephone, rows and texts.
document.documentElement.classList.add("scripted");
document.getElementById("sortable")?.removeAttribute("hidden");

// Return the number that a cell shows, such as "−0.31", "12.3%" or "<0.01%"; NaN if it has none.
function shownNumber(cell) {
  const text = (cell?.firstChild?.data ?? "").replace("\u2212", "-").replace(/[,%\s]/g, "");
  return text[0] === "<" ? parseFloat(text.slice(1)) / 2 : parseFloat(text);
}

// Sort the rows of a table by a column; without a direction they return to the report's order.
function sortRows(table, rows, heading, direction) {
  for (const each of heading.parentNode.cells) each.removeAttribute("aria-sort");
  table.classList.toggle("sorted", Boolean(direction));
  if (!direction) return rows.forEach(({ row, home }) => home.append(row));
  heading.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
  const found = rows
    .filter(({ row }) => !row.matches(".human, .sweep"))
    .map(({ row }) => ({ row, number: shownNumber(row.cells[heading.cellIndex]) }));
  // Rows without a number come last in both directions.
  found.sort((a, b) => Number.isNaN(a.number) - Number.isNaN(b.number) || direction * (a.number - b.number));
  table.tBodies[table.tBodies.length - 1].append(...found.map(({ row }) => row));
}

// Return a button that shows or hides the rest of an element.
function unfolding(label, open, toggle) {
  const button = make("button", { type: "button", class: "unfold", "aria-expanded": open });
  if (label) button.setAttribute("aria-label", label);
  button.addEventListener("click", () => {
    const now = button.getAttribute("aria-expanded") !== "true";
    button.setAttribute("aria-expanded", now);
    toggle(now);
  });
  return button;
}

// On a telephone only the first table and the first pictures are open.
for (const part of [...document.querySelectorAll(".wide:has(.figures) ~ .wide, #pictures figure, #try .playground")]) {
  const title = part.querySelector("caption strong") ?? part.parentNode.querySelector("h2, h3, .heading > :first-child");
  part.classList.add("closed");
  title.prepend(unfolding(`Show ${title.textContent}`, false, (open) => part.classList.toggle("closed", !open)));
}

// There a sweep of more settings than this is closed too: twenty cards are three screens long.
const telephone = matchMedia("screen and (max-width: 40rem)"), MOST_CARDS = 12;

let meanings = 0;
for (const table of document.querySelectorAll(".figures")) {
  const rows = [...table.tBodies].flatMap((home) => [...home.rows].map((row) => ({ row, home })));
  table.createTBody();
  for (const heading of table.tHead.rows[0].cells) {
    const term = heading.querySelector(".term");
    if (!term) continue;
    const turn = () => {
      const next = { descending: 1, ascending: 0 }[heading.getAttribute("aria-sort")] ?? -1;
      sortRows(table, rows, heading, next);
    };
    const meaning = term.querySelector("[role=tooltip]");
    meaning.id = `meaning-${meanings++}`;
    const named = { role: "button", "aria-label": `Sort by ${term.firstElementChild.textContent}`, "aria-describedby": meaning.id };
    for (const [name, value] of Object.entries(named)) term.setAttribute(name, value);
    term.addEventListener("click", turn);
    term.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      turn();
    });
  }
  for (const { row, home } of rows) {
    const name = row.cells[0];
    if (row.matches(".sweep")) {
      const isOpen = !telephone.matches || home.rows.length <= MOST_CARDS;
      home.classList.toggle("folded", !isOpen);
      const button = unfolding("", isOpen, (open) => home.classList.toggle("folded", !open));
      button.append(...name.childNodes);
      name.append(button);
    } else {
      const label = `All figures of ${name.querySelector("bdi").textContent}`;
      name.prepend(unfolding(label, false, (open) => row.classList.toggle("open", open)));
    }
  }
}

const texts = document.querySelector("#texts details");
if (telephone.matches && texts?.querySelectorAll("article").length > MOST_CARDS) texts.open = false;
for (const text of document.querySelectorAll("article:not(.error)")) {
  const name = text.querySelector("h4");
  const label = `Whole text of ${name.textContent}`;
  name.prepend(unfolding(label, false, (open) => text.classList.toggle("open", open)));
}

const filter = document.querySelector("#filter");
if (filter) {
  const count = filter.querySelector("output");
  const show = () => {
    const parts = filter.querySelector("input").value.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (name) => parts.every((part) => name.toLowerCase().includes(part));
    const names = new Set();
    for (const row of document.querySelectorAll(".figures tbody tr:not(.human, .sweep)")) {
      const name = row.querySelector("th bdi").textContent;
      row.hidden = !fits(name);
      if (!row.hidden) names.add(name);
    }
    for (const sweep of document.querySelectorAll(".sweep")) {
      sweep.hidden = ![...sweep.parentNode.rows].some((row) => row !== sweep && !row.hidden);
    }
    for (const text of document.querySelectorAll("article")) text.hidden = !fits(text.querySelector("bdi").textContent);
    count.textContent = parts.length ? `${names.size} of ${count.dataset.all}` : "";
  };
  filter.addEventListener("input", show);
  filter.addEventListener("submit", (event) => event.preventDefault());
  filter.hidden = false;
  show();
}
