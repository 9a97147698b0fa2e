// Try it: reshape one distribution as corelm does, in float32, with its rules for ties and limits.
const { fround, exp, log, min, max } = Math;
const SLACK = 1e-12;

// Logits are in falling order, and the first one is 0. So the tokens that a filter keeps are
// always a prefix, and no row needs to be shifted before it is divided.
function weights(l) {
  return l.map((x) => fround(exp(fround(x - l[0]))));
}
function temperature(l, t) {
  if (t === 0) return l.slice(0, 1);
  return t === 1 ? l : l.map((x) => fround(x / fround(t)));
}
function topK(l, k) {
  return k === 0 ? l : l.slice(0, k);
}
function topP(l, p) {
  if (p === 1) return l;
  const w = weights(l);
  const target = p * w.reduce((a, b) => a + b, 0) * (1 - SLACK);
  let mass = 0;
  const last = w.findIndex((x) => (mass += x) >= target);
  return last < 0 ? l : l.slice(0, last + 1);
}
function minP(l, p) {
  return p === 0 ? l : l.filter((x) => x >= l[0] + log(p) - SLACK);
}

function softmax(l) {
  const w = l.map((x) => exp(x - l[0]));
  const total = w.reduce((a, b) => a + b, 0);
  return w.map((x) => x / total);
}
function entropy(p) {
  return max(0, -p.reduce((h, x) => h + (x > 0 ? x * log(x) : 0), 0));
}

// Return what a chain of the four leaves of the logits.
function reshaped(l, { t, k, p, m }) {
  return minP(topP(topK(temperature(l, t), k), p), m);
}

const section = document.getElementById("try");
if (section) {
  const bytes = Uint8Array.from(atob(section.dataset.logits), (c) => c.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const logits = Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
  const size = logits.length;
  const counts = [1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 40, 50, 70];
  for (let n = 100; n < size; n *= 10) counts.push(n, 2 * n, 5 * n);
  const kept = counts.filter((n) => n < size);
  const sliders = {
    t: { least: 0, most: 2, step: 0.05, off: 1, value: (x) => x },
    k: { least: 0, most: kept.length, step: 1, off: kept.length, value: (x) => kept[x] ?? 0 },
    p: { least: 0, most: 1, step: 0.01, off: 1, value: (x) => x },
    m: { least: 0, most: 1, step: 0.01, off: 0, value: (x) => x },
  };
  const $ = (id) => document.getElementById(id);
  const decimal = (x) => (Number.isInteger(x) ? x.toFixed(1) : String(x));
  const whole = (n) => n.toLocaleString("en");
  const model = softmax(logits);
  const rows = [...section.querySelectorAll(".bars tbody tr")];

  function show() {
    const [t, k, p, m] = Object.entries(sliders).map(([id, s]) => s.value(Number($(id).value)));
    const stays = reshaped(logits, { t, k, p, m });
    const q = softmax(stays);
    const mass = model.slice(0, q.length).reduce((a, b) => a + b, 0);
    const h = entropy(q);
    $("entropy").textContent = h.toFixed(3);
    $("more").textContent =
      `${(h / log(2)).toFixed(2)} bits: as many as ${exp(h) < 100 ? exp(h).toFixed(1) : whole(Math.round(exp(h)))} equally likely tokens. ` +
      `${whole(q.length)} of ${whole(size)} tokens kept, ${share(q.length === size ? 1 : min(mass, 1))} of the model's mass.`;
    drawStrip($("scale"), (100 * h) / log(size) || 0);
    const stages = [
      t !== 1 && `temperature(t=${decimal(t)})`,
      k !== 0 && `top_k(k=${k})`,
      p !== 1 && `top_p(p=${decimal(p)})`,
      m !== 0 && `min_p(p=${decimal(m)})`,
    ].filter(Boolean);
    $("expression").value = stages.join(" | ") || "stochastic";
    const labels = { t: decimal(t), k: k === 0 ? "off" : whole(k), p: p === 1 ? "off" : decimal(p), m: m === 0 ? "off" : decimal(m) };
    for (const [id, text] of Object.entries(labels)) {
      $(id + "-value").textContent = text;
      $(id).setAttribute("aria-valuetext", text);
    }
    const longest = max(q[0], model[0]);
    rows.forEach((row, i) => drawBar(row, q[i], model[i], longest));
  }

  const form = section.querySelector("form");
  for (const [id, s] of Object.entries(sliders)) {
    Object.assign($(id), { min: s.least, max: s.most, step: s.step });
    $(id).setAttribute("value", s.off);
    $(id).value = s.off;
  }
  form.addEventListener("input", show);
  form.addEventListener("reset", () => setTimeout(show));
  form.addEventListener("submit", (event) => event.preventDefault());
  $("copy").addEventListener("click", async () => {
    $("expression").select();
    try {
      await navigator.clipboard.writeText($("expression").value);
    } catch {
      document.execCommand("copy");
    }
    $("copy").textContent = "Copied";
  });
  form.hidden = false;
  show();
}
