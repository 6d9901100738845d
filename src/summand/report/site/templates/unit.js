// The page of a unit, or of an image: maps are drawn from numbers; tabs swap images, and show their map on hover.
"use strict";

(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const bytes = Uint8Array.from(atob(data.values), (c) => c.charCodeAt(0));
  const values = new Int8Array(bytes.buffer);
  const [height, width] = data.grid, cells = height * width;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const FOR = [178, 24, 43], AGAINST = [33, 102, 172];

  // Red speaks for, blue against, clear says nothing; at `limit` and beyond the colour is full.
  function draw(canvas, start, scale, limit) {
    canvas.width = width;
    canvas.height = height;
    canvas.style.width = `${100 * data.share[1]}%`;
    canvas.style.height = `${100 * data.share[0]}%`;
    const context = canvas.getContext("2d"), pixels = context.createImageData(width, height);
    for (let i = 0; i < cells; i++) {
      const share = Math.max(-1, Math.min(1, ((values[start + i] / 127) * scale) / (limit || 1)));
      const colour = share > 0 ? FOR : AGAINST;
      pixels.data.set([...colour, 255 * (Math.abs(share) > 0.05 ? 0.12 + 0.72 * Math.abs(share) : 0)], 4 * i);
    }
    context.putImageData(pixels, 0, 0);
  }

  if (!data.tabs) {  // an image: a map a text, each on its own scale
    for (const canvas of document.querySelectorAll("canvas[data-map]")) {
      const at = Number(canvas.dataset.map);
      draw(canvas, at * cells, data.scales[at], data.scales[at]);
    }
  } else if (document.getElementById("panel")) unit();

  function unit() {
    const tabs = [...document.querySelectorAll("[role=tab]")];
    const map = (tab) => (data.maps === 1 ? 0 : tab);
    const limits = data.tabs.map((tab, i) => Math.max(1e-30, ...(tab.strong.length ? tab.strong : data.images.keys().toArray?.() || []).map((at) => data.scales[at][map(i)])));
    let chosen = 0;

    function maps(tab) {
      for (const canvas of document.querySelectorAll("canvas[data-map]")) {
        const at = Number(canvas.dataset.map);
        draw(canvas, (at * data.maps + map(tab)) * cells, data.scales[at][map(tab)], limits[tab]);
      }
    }

    function figure(tab, at) {
      const image = data.images[at], score = data.tabs[tab].scores[at];
      const said = `${score < 0 ? "−" : "+"}${Math.abs(score).toFixed(1)} σ`;
      const made = document.createElement("figure");
      if (image.f) {
        const frame = document.createElement(image.p ? "a" : "div");
        frame.className = "frame";
        if (image.p) frame.href = `../images/${String(image.i).padStart(6, "0")}.html`;
        frame.append(picture(image, `${image.n}, ${said}`));
        made.append(frame);
      }
      const where = document.createElement("div"), canvas = document.createElement("canvas"), caption = document.createElement("figcaption"), bold = document.createElement("b");
      where.className = "frame where";
      if (image.f) where.append(picture(image, ""));
      canvas.dataset.map = at;
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `where in ${image.n}`);
      where.append(canvas);
      bold.textContent = said;
      caption.title = `${image.n}: how far along, in its usual deviations`;
      caption.append(bold, ` ${image.n}`);
      made.append(where, caption);
      return made;
    }

    function picture(image, alt) {
      const made = new Image();
      made.src = `../thumbs/${image.f}`;
      made.alt = alt;
      return made;
    }

    function choose(tab, focus) {
      chosen = tab;
      tabs.forEach((button, i) => { button.setAttribute("aria-selected", String(i === tab)); button.tabIndex = i === tab ? 0 : -1; });
      document.getElementById("panel").setAttribute("aria-labelledby", tabs[tab].id);
      for (const said of document.querySelectorAll("[data-said]")) said.classList.toggle("hidden", Number(said.dataset.said) !== tab);
      for (const name of ["strong", "weak"]) document.querySelector(`[data-gallery=${name}]`).replaceChildren(...data.tabs[tab][name].map((at) => figure(tab, at)));
      document.querySelector("[data-other]").classList.toggle("hidden", !data.tabs[tab].weak.length);
      maps(tab);
      const hash = tab ? `#text=${tab}` : "#";
      if (hash !== (location.hash || "#")) history.replaceState(null, "", hash);
      if (focus) tabs[tab].focus();
    }

    tabs.forEach((button, i) => {
      button.addEventListener("click", () => choose(i, false));
      button.addEventListener("pointerenter", () => maps(i));
      button.addEventListener("pointerleave", () => maps(chosen));
      button.addEventListener("keydown", (event) => {
        const to = { ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0, End: tabs.length - 1 }[event.key];
        if (to === undefined) return;
        event.preventDefault();
        choose((to + tabs.length) % tabs.length, true);
      });
    });
    const asked = Number(new URLSearchParams(location.hash.slice(1)).get("text"));
    if (asked > 0 && asked < tabs.length) choose(asked, false);
    else maps(0);
  }

  for (const button of document.querySelectorAll("[data-copy]")) button.addEventListener("click", async () => {
    const block = document.getElementById(button.dataset.copy);
    try { await navigator.clipboard.writeText(block.textContent); } catch { getSelection().selectAllChildren(block); document.execCommand("copy"); }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
})();
