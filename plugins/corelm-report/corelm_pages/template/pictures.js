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

// Paint a picture on a canvas, element by element: the page's policy lets it load no image.
function painted(svg, scale) {
  const { width, height } = svg.viewBox.baseVal;
  const canvas = make("canvas", { width: Math.round(width * scale), height: Math.round(height * scale) });
  const pen = canvas.getContext("2d");
  const toPicture = svg.getScreenCTM().inverse();
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  for (const element of svg.querySelectorAll("path, use, text")) {
    if (element.closest("defs, clipPath")) continue;
    pen.save();
    const { a, b, c, d, e, f } = toPicture.multiply(element.getScreenCTM());
    pen.setTransform(scale * a, scale * b, scale * c, scale * d, scale * e, scale * f);
    clip(pen, svg, element);
    (element.localName === "text" ? paintText : paintPath)(pen, svg, element);
    pen.restore();
  }
  return canvas;
}

function target(svg, reference) {
  const id = /#([\w-]+)/.exec(reference ?? "");
  return id && svg.querySelector(`[id="${id[1]}"]`);
}

function clip(pen, svg, element) {
  const frame = target(svg, element.getAttribute("clip-path"))?.firstElementChild;
  if (!frame) return;
  const [x, y, width, height] = ["x", "y", "width", "height"].map((name) => frame[name].baseVal.value);
  pen.beginPath();
  pen.rect(x, y, width, height);
  pen.clip();
}

function paintText(pen, svg, element) {
  const style = getComputedStyle(element);
  pen.font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
  pen.textAlign = { middle: "center", end: "end" }[style.textAnchor] ?? "start";
  pen.fillStyle = style.fill;
  pen.globalAlpha = Number(style.opacity);
  pen.fillText(element.textContent, element.x.baseVal[0]?.value ?? 0, element.y.baseVal[0]?.value ?? 0);
}

function paintPath(pen, svg, element) {
  const shape = element.localName === "use" ? target(svg, element.getAttribute("xlink:href")) : element;
  if (!shape) return;
  if (shape !== element) pen.translate(element.x.baseVal.value, element.y.baseVal.value);
  // The style of a mark itself goes before that of the place where it is used.
  const [own, used] = [getComputedStyle(shape), getComputedStyle(element)];
  const look = (name) => (shape.style.getPropertyValue(name) ? own : used).getPropertyValue(name);
  const path = new Path2D(shape.getAttribute("d"));
  const opacity = Number(look("opacity"));
  if (look("fill") !== "none") {
    pen.globalAlpha = opacity * Number(look("fill-opacity"));
    pen.fillStyle = look("fill");
    pen.fill(path);
  }
  if (look("stroke") === "none") return;
  const dashes = look("stroke-dasharray");
  pen.globalAlpha = opacity * Number(look("stroke-opacity"));
  pen.setLineDash(dashes === "none" ? [] : dashes.split(",").map(parseFloat));
  pen.lineDashOffset = parseFloat(look("stroke-dashoffset"));
  pen.lineCap = look("stroke-linecap");
  pen.lineJoin = look("stroke-linejoin");
  pen.strokeStyle = look("stroke");
  pen.lineWidth = parseFloat(look("stroke-width"));
  pen.stroke(path);
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
  PNG: ["picture", (svg, name) => painted(svg, PIXELS).toBlob((blob) => save(`${name}.png`, blob, "image/png"))],
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
