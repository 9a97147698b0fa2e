// A network that delays, loses and spoils replies, and actions in bursts, for test_play_bursts.py.
(() => {
  const real = window.fetch, pause = (ms) => new Promise((done) => { setTimeout(done, ms); });
  let isHostile = false, waiting = 0, seed = 1;
  const faults = [];

  const random = () => { // mulberry32
    let t = (seed += 0x6d2b79f5);
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };

  window.fetch = async (path, { signal, ...options } = {}) => {
    signal?.throwIfAborted();
    waiting += 1;
    try {
      if (!isHostile) return await real(path, { signal, ...options });
      const fate = random();
      if (fate < 0.06) return await new Promise((_, reject) => { signal.addEventListener("abort", () => reject(signal.reason)); }); // lost
      if (fate < 0.12) throw new TypeError("Failed to fetch");
      if (fate < 0.16) return new Response("<h1>Bad Gateway</h1>", { status: 502 });
      await pause(20 * random());
      const response = await real(path, options); // also where the page has given it up
      await pause(60 * random());
      return response;
    } finally {
      waiting -= 1;
    }
  };

  const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];
  const byId = (id) => document.getElementById(id);
  const panels = () => all(".panel").filter((each) => each.checkVisibility());
  const isOld = (panel) => panel.classList.contains("old") || panel.querySelector(".next").ariaBusy === "true";
  const isOn = (card) => card.querySelector("[role=switch]").checked;
  const names = (panel) => all(".columns thead .name", panel).slice(1).map((each) => each.textContent);

  // What isn't marked as old belongs together: cards, columns, the expression and the place.
  function look() {
    for (const panel of panels().filter((each) => !isOld(each))) {
      const cards = all(".cards > .card", panel).filter(isOn), heads = names(panel);
      const expected = cards.length ? cards.map((each) => each.dataset.name) : ["stochastic"];
      if (heads.map((each) => /\w+/.exec(each)[0]).join() !== expected.join()) faults.push(`columns ${heads} of ${expected}`);
      const written = panel.querySelector("[id^=expression][type=text]").value.split(" | ").map((each) => /\w+/.exec(each)?.[0]);
      if (written.join() !== expected.join()) faults.push(`expression ${written} of ${expected}`);
      cards.forEach((card, at) => {
        const field = card.querySelector("input.number"), value = /^\w+\(\w+=([\d.]+)\)$/.exec(heads[at]);
        if (field && value && Number(field.value) !== Number(value[1])) faults.push(`${heads[at]} of ${field.value}`);
      });
    }
  }
  setInterval(look, 5);

  const usable = (element) => element && !element.disabled && element.ariaDisabled !== "true" && !element.closest("[inert]");
  const press = (element) => (usable(element) ? (element.click(), true) : null);
  const send = (element, type) => element.dispatchEvent(new Event(type, { bubbles: true }));
  const card = (at) => all("#cards > .card")[at];
  const navigated = (go) => new Promise((done) => { addEventListener("hashchange", () => done(true), { once: true }); go(); });

  function choose(id, value) {
    const list = byId(id);
    if (!usable(list)) return null;
    list.dispatchEvent(new PointerEvent("pointerdown"));
    list.value = value;
    send(list, "change");
    return true;
  }

  const actions = {
    add: (name) => choose("add", name),
    preset: (expression) => choose("preset", expression),
    off: (at) => press(card(at)?.querySelector("[role=switch]")),
    out: (at) => press(card(at)?.querySelector("[aria-label^=take]")),
    expression: (text) => {
      const field = byId("expression");
      field.value = text;
      send(field, "input");
      if (random() < 0.5) send(field, "change");
      return true;
    },
    slider: ([at, places]) => {
      const slider = card(at)?.querySelector("input[type=range]");
      if (!usable(slider) || !isOn(card(at))) return null;
      for (const place of places) { slider.value = place; send(slider, "input"); }
      send(slider, "change");
      return { parameter: slider.ariaLabel, value: Number(slider.nextElementSibling.value) };
    },
    draw: () => press(byId("draw")),
    write: () => press(byId("write")),
    undo: () => press(byId("undo")),
    restart: () => press(byId("restart")),
    new_seed: () => press(byId("new-seed")) && byId("seed").value,
    bar: (at) => {
      const button = all("#columns .take")[at], word = button?.textContent;
      return press(button) && word;
    },
    draws: () => press(byId("draws")),
    numbers: (at) => press(all("#columns thead .name")[at]),
    compare: () => press(byId("compare")),
    link: (state) => navigated(() => { location.hash = state; }),
    back: () => (navigation.canGoBack && navigation.currentEntry.index > first ? navigated(() => history.back()) : null),
    forward: () => (navigation.canGoForward ? navigated(() => history.forward()) : null),
  };
  const first = navigation.currentEntry.index;

  // The replies on their way are there, and the state is shown.
  window.idle = () => !waiting && byId("stop").hidden && !panels().some(isOld);

  window.calm = async () => {
    isHostile = false;
    for (let quiet = 0, tries = 0; quiet < 4; tries += 1) {
      // The page asks again when the network is back.
      if (tries % 20 === 0) dispatchEvent(new Event("online"));
      if (tries > 6000) return false; // half a minute
      await pause(5);
      quiet = window.idle() ? quiet + 1 : 0;
    }
    return true;
  };

  window.burst = async (wanted, number) => {
    seed = number;
    isHostile = true;
    faults.length = 0;
    const results = [];
    for (const [kind, argument, ms] of wanted) {
      results.push((await actions[kind](argument)) || null);
      look();
      if (ms) await pause(ms);
    }
    await pause(60 * random());
    const isCalm = await window.calm();
    look();
    return { results, faults: [...new Set(faults)], isCalm };
  };

  window.shown = () => ({
    failure: byId("failure").textContent,
    seed: byId("seed").value,
    sides: panels().map((panel, at) => ({
      old: isOld(panel),
      words: all(`${at ? "#words-b" : "#words"} .word:not(.later)`).map((each) => each.textContent.trim()),
      cards: all(".cards > .card", panel).map((each) => [each.dataset.name, isOn(each)]),
      expression: panel.querySelector("[id^=expression][type=text]").value,
      entropies: all(".figures", panel).map((each) => Number(each.dataset.entropy)),
      rows: all(".columns tbody tr", panel).map((row) => [row.querySelector("button").textContent, ...all("td", row).map((each) => each.dataset.p)]),
      counts: Object.fromEntries(all(".columns tbody tr", panel).map((row) => [row.querySelector("button").textContent, Number(/\((\d+)\)$/.exec(row.lastChild.textContent)?.[1] ?? 0)])),
      next: panel.querySelector(".drawn button")?.textContent ?? null,
      numbers: all(".arithmetic", panel).some((each) => !each.hidden) ? all(".arithmetic td[data-p]", panel).map((each) => Number(each.dataset.p)) : null,
    })),
  });
})();
