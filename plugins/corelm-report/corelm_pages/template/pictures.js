// Pictures: a menu at each saves it as SVG or PNG, in the colours of paper, and its data as CSV.

// Return a picture as a document of its own: with colours in place of the page's variables.
function standalone(svg) {
  const copy = svg.cloneNode(true);
  const { width, height } = svg.viewBox.baseVal;
  const style = getComputedStyle(svg);
  copy.removeAttribute("aria-hidden");
  copy.removeAttribute("class");
  const attributes = {
    xmlns: "http://www.w3.org/2000/svg", "xmlns:xlink": "http://www.w3.org/1999/xlink",
    width: `${width}pt`, height: `${height}pt`, "font-family": style.fontFamily,
    "stroke-linejoin": "round", "stroke-linecap": "butt",
  };
  for (const [name, value] of Object.entries(attributes)) copy.setAttribute(name, value);
  const text = new XMLSerializer().serializeToString(copy);
  return text.replace(/var\((--[\w-]+)\)/g, (_, name) => style.getPropertyValue(name));
}

// Save a picture as PNG: the browser draws it as an image, on white.
function savePng(svg, name) {
  const { width, height } = svg.viewBox.baseVal;
  const canvas = make("canvas", { width: Math.round(width * PIXELS), height: Math.round(height * PIXELS) });
  const pen = canvas.getContext("2d"), image = new Image();
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  image.addEventListener("load", () => {
    pen.drawImage(image, 0, 0, canvas.width, canvas.height);
    canvas.toBlob((blob) => save(`${name}.png`, blob, "image/png"));
  });
  image.src = `data:image/svg+xml,${encodeURIComponent(standalone(svg))}`;
}

// Print a picture alone: a page without a server has no other way to a PDF.
function printAlone(figure) {
  const marked = [[document.documentElement, "one-picture"], [figure, "printed"]];
  marked.forEach(([element, name]) => element.classList.add(name));
  addEventListener("afterprint", () => marked.forEach(([element, name]) => element.classList.remove(name)), { once: true });
  print();
}

const PIXELS = 4; // in a point: 288 in an inch
const FORMS = {
  SVG: ["vector picture", (svg, name) => save(`${name}.svg`, standalone(svg), "image/svg+xml")],
  PNG: ["picture", savePng],
  PDF: ["printed to a file", (svg) => printAlone(svg.closest("figure"))],
  CSV: ["its data", (svg, name) => save(`${name}.csv`, svg.closest("figure").dataset.csv, "text/csv")],
};

function menu(figure) {
  const { id: name } = figure.closest("section");
  const heading = figure.previousElementSibling;
  const forms = Object.entries(FORMS).map(([form, [meaning, write]]) => [form, meaning, () => {
    const svg = figure.querySelector("svg");
    svg.classList.add("on-paper");
    write(svg, name);
    svg.classList.remove("on-paper");
  }]);
  heading.append(saveMenu(heading.firstElementChild.textContent, forms));
}

document.querySelectorAll("figure[data-csv]").forEach(menu);
