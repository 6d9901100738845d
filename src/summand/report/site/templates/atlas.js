// The front page: search over the words of all units, filters, the colour of the map; the state is in the address.
// A plain script, not a module: browsers load no modules from the disk.
"use strict";

const summandAtlas = (() => {
  const NAME = 0, KIND = 1, LAYER = 2, PAGE = 3, PROPERTY = 4, VERDICT = 5, SCORE = 6, LABEL = 7, IMPORTANCE = 8, THUMBS = 10, WORDS = 11, TEXTS = 12, PART = 13;
  const SHOWN = 40;
  const FILTERS = { kind: KIND, property: PROPERTY, layer: LAYER, evidence: VERDICT };
  const at = (id) => document.getElementById(id);
  const rows = [];
  const pieces = Number(document.body.dataset.pieces);
  let asked = false, limit = SHOWN, waiting = 0;

  const plain = (text) => text.normalize("NFKC").toLowerCase().trim();
  const latin = /^[\p{Script=Latin}\d\s'’-]+$/u;

  // A word of the text begins with it; in scripts that part no words, it is anywhere in the text.
  function holds(text, query) {
    const one = plain(text);
    return latin.test(query) ? ` ${one}`.includes(` ${query}`) : one.includes(query);
  }

  // The higher the better: proven words, then words that are not proven, then texts beside; 0 for none.
  function match(row, query) {
    if (!query) return 1;
    let best = 0;
    for (const [text, , proven] of row[WORDS]) if (holds(text, query)) best = Math.max(best, proven ? 3 : 2);
    if (!best && row[TEXTS].some(([text]) => holds(text, query))) best = 1;
    if (!best && row[NAME] === query) best = 4;
    return best;
  }

  function state() {
    const found = { q: at("q").value };
    for (const key of Object.keys(FILTERS)) found[key] = at(key) ? at(key).value : "";
    const measure = document.querySelector("[data-measure][aria-pressed=true]");
    found.map = measure && measure.dataset.measure !== "importance" ? measure.dataset.measure : "";
    return found;
  }

  function remember() {
    const said = new URLSearchParams(Object.entries(state()).filter(([, value]) => value));
    const hash = said.toString() ? `#${said}` : "#";
    if (hash !== (location.hash || "#")) history.replaceState(null, "", hash);
  }

  function recall() {
    const said = new URLSearchParams(location.hash.slice(1));
    at("q").value = said.get("q") || "";
    for (const key of Object.keys(FILTERS)) if (at(key)) at(key).value = said.get(key) || "";
    colour(said.get("map") || "importance");
    show();
  }

  function load() {
    if (asked) return;
    asked = true;
    waiting = pieces;
    for (let number = 0; number < pieces; number++) {
      const script = document.createElement("script");
      script.src = `data/units-${number}.js`;
      script.onerror = () => { waiting--; show(); };
      document.head.append(script);
    }
  }

  function element(name, attributes, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) if (value !== null) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  // The text with the query underlined; as nodes, never as HTML.
  function marked(text, query) {
    const where = query ? text.toLowerCase().indexOf(query) : -1;
    if (where < 0) return [text];
    return [text.slice(0, where), element("mark", {}, text.slice(where, where + query.length)), text.slice(where + query.length)];
  }

  function item(row, query) {
    const proven = row[VERDICT] === "proven";
    const badge = proven ? `✓ ${row[SCORE] === null ? "" : row[SCORE].toFixed(2)}${row[PART] ? " in part" : ""}` : row[VERDICT] === "not proven" ? "unproven" : "untested";
    const said = proven ? "Proven on images kept aside; the number says how well it tells such images from others (0.5 is chance)" : "Not proven by the images kept aside";
    const thumbs = element("span", { class: "thumbs" });
    for (const image of row[THUMBS]) thumbs.append(element("img", { src: `thumbs/${String(image).padStart(6, "0")}.webp`, alt: "", loading: "lazy", width: 36, height: 36 }));
    const texts = row[TEXTS].map(([text, weight]) => (weight < 0 ? `− ${text}` : text)).join(" · ");
    return element("li", {}, thumbs,
      element("span", { class: "name" }, element("a", { href: row[PAGE] }, row[NAME])),
      element("span", { class: "what", dir: "auto", title: "Its words; a share after them is how much of its variance lies that way" }, ...marked(row[LABEL], query)),
      element("span", { class: proven ? "badge" : "badge not", title: said }, badge),
      element("span", { class: "kind" }, ...(row[PROPERTY] ? [element("span", { class: "tag" }, row[PROPERTY])] : [])),
      element("span", { class: "also", dir: "auto" }, ...marked(texts, query)),
      element("span", { class: "number share", title: "Share of the variance along the descriptions among the units of its group" }, `${(100 * row[IMPORTANCE]).toFixed(1)}\u00a0%`));
  }

  function show() {
    const now = state(), query = plain(now.q);
    const filters = Object.entries(FILTERS).filter(([key]) => now[key]);
    const on = Boolean(query || filters.length);
    at("results").classList.toggle("hidden", !on);
    at("best").classList.toggle("hidden", on);
    for (const chip of document.querySelectorAll("#chips button")) chip.setAttribute("aria-pressed", String(plain(chip.dataset.word) === query));
    if (!on) return;
    load();
    const found = [];
    for (const row of rows) {
      if (filters.some(([key, column]) => String(row[column]) !== now[key])) continue;
      const how = match(row, query);
      if (how) found.push([how, row]);
    }
    found.sort((one, other) => other[0] - one[0]);  // stable: within, the best evidence first, as they come
    const open = waiting > 0 ? " (loading …)" : "";
    at("count").textContent = `${found.length.toLocaleString("en")} unit${found.length === 1 ? "" : "s"}${now.q ? ` for “${now.q.trim()}”` : ""}, best evidence first${open}`;
    at("found").replaceChildren(...found.slice(0, limit).map(([, row]) => item(row, query)));
    at("more").classList.toggle("hidden", found.length <= limit);
  }

  function colour(measure) {
    const chosen = document.querySelector(`[data-measure="${CSS.escape(measure)}"]`);
    if (!chosen) return;
    for (const button of document.querySelectorAll("[data-measure]")) button.setAttribute("aria-pressed", String(button === chosen));
    at("measure-said").textContent = chosen.dataset.said;
    for (const cell of document.querySelectorAll("a.cell")) {
      const step = cell.dataset[measure] || "0";
      cell.className = cell.className.replace(/\bs\d\b/, `s${step}`);
      const value = cell.querySelector("[data-value]");
      if (value) value.textContent = value.dataset[measure] || "–";
    }
  }

  function changed() { limit = SHOWN; remember(); show(); }

  at("find").addEventListener("submit", (event) => event.preventDefault());
  at("find").addEventListener("input", changed);
  at("q").addEventListener("focus", load);
  at("q").addEventListener("keydown", (event) => { if (event.key === "Escape") { at("q").value = ""; changed(); } });
  at("more").addEventListener("click", () => { limit += 5 * SHOWN; show(); });
  at("chips").addEventListener("click", (event) => {
    const word = event.target.dataset.word;
    if (word === undefined) return;
    at("q").value = event.target.getAttribute("aria-pressed") === "true" ? "" : word;
    changed();
  });
  for (const button of document.querySelectorAll("[data-measure]")) button.addEventListener("click", () => { colour(button.dataset.measure); remember(); });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !/^(input|select|textarea)$/i.test(document.activeElement.tagName)) { event.preventDefault(); at("q").focus(); }
  });
  window.addEventListener("hashchange", recall);
  for (const button of document.querySelectorAll("[data-copy]")) button.addEventListener("click", async () => {
    const text = document.getElementById(button.dataset.copy).textContent;
    try { await navigator.clipboard.writeText(text); } catch { const range = document.createRange(); range.selectNodeContents(document.getElementById(button.dataset.copy)); getSelection().removeAllRanges(); getSelection().addRange(range); document.execCommand("copy"); }
    button.textContent = "Copied"; setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });

  return {
    add(more) { rows.push(...more); waiting--; rank(); show(); },
    start: recall,
  };

  // Pieces may come in any order.
  function rank() {
    const order = { "proven": 0, "not proven": 1, "cannot be tested": 2 };
    rows.sort((one, other) => order[one[VERDICT]] - order[other[VERDICT]] || (other[SCORE] || 0) - (one[SCORE] || 0) || other[IMPORTANCE] - one[IMPORTANCE]);
  }
})();
summandAtlas.start();
