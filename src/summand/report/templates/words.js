// Words and patches: a word that is pointed at shows the patches that go with it, a patch the words. Listens at the
// root alone, so what is below it may be replaced at any time.
"use strict";

function summandWords(root) {
  const FOR = [178, 24, 43], AGAINST = [33, 102, 172];
  const kept = new WeakMap();

  // The numbers of a block, read once.
  function dataOf(block) {
    if (!kept.has(block)) {
      const found = JSON.parse(block.dataset.words);
      for (const text of found.texts) text.values = new Int8Array(Uint8Array.from(atob(text.values), (c) => c.charCodeAt(0)).buffer);
      kept.set(block, found);
    }
    return kept.get(block);
  }

  const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(1)}`;
  const chosen = (block) => block.querySelector(".word[aria-pressed=true]");

  function told(block, text) {
    block.querySelector("[data-told]").textContent = text;
  }

  function drawn(block, button) {
    const data = dataOf(block), [height, width] = data.grid, canvas = block.querySelector("canvas");
    const text = data.texts[button.dataset.text], start = button.dataset.word * height * width;
    canvas.width = width;
    canvas.height = height;
    const context = canvas.getContext("2d"), pixels = context.createImageData(width, height);
    let sum = 0;
    for (let i = 0; i < height * width; i++) {
      const share = text.values[start + i] / 127;
      sum += share * text.most;
      pixels.data.set([...(share > 0 ? FOR : AGAINST), 255 * (Math.abs(share) > 0.05 ? 0.12 + 0.72 * Math.abs(share) : 0)], 4 * i);
    }
    context.putImageData(pixels, 0, 0);
    block.classList.add("coloured");
    told(block, `“${button.textContent}” adds ${signed(1000 * sum)} thousandths of the cosine with all patches together`);
  }

  // At rest: the word that was chosen, or nothing.
  function rest(block) {
    block.classList.remove("coloured");
    for (const bar of block.querySelectorAll(".word i")) bar.style.width = "0";
    const canvas = block.querySelector("canvas"), button = chosen(block);
    if (button) return drawn(block, button);
    canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
    told(block, block.dataset.rest);
  }

  function patch(block, row, column) {
    const data = dataOf(block), [height, width] = data.grid, canvas = block.querySelector("canvas");
    row = Math.max(0, Math.min(height - 1, row));
    column = Math.max(0, Math.min(width - 1, column));
    block.dataset.at = `${row},${column}`;
    block.classList.remove("coloured");
    canvas.width = width;
    canvas.height = height;
    const context = canvas.getContext("2d");
    context.fillStyle = "rgba(0, 0, 0, .35)";
    context.fillRect(0, 0, width, height);
    context.clearRect(column, row, 1, 1);
    const here = [...block.querySelectorAll(".word")].map((button) => {
      const text = data.texts[button.dataset.text];
      return [button, (text.values[button.dataset.word * height * width + row * width + column] / 127) * text.most];
    });
    const most = Math.max(1e-9, ...here.map(([, value]) => Math.abs(value)));
    for (const [button, value] of here) {
      const bar = button.querySelector("i");
      bar.style.width = `${(100 * Math.abs(value)) / most}%`;
      bar.className = value > 0 ? "for" : "against";
    }
    const best = here.reduce((one, other) => (other[1] > one[1] ? other : one));
    told(block, `Patch in row ${row + 1}, column ${column + 1} goes most with “${best[0].textContent}”: ${signed(1000 * best[1])} thousandths of the cosine`);
  }

  function under(event, block) {
    const data = dataOf(block), box = block.querySelector("canvas").getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width, y = (event.clientY - box.top) / box.height;
    return x < 0 || y < 0 || x >= 1 || y >= 1 ? null : [Math.floor(y * data.grid[0]), Math.floor(x * data.grid[1])];
  }

  const block = (event) => event.target.closest && event.target.closest("[data-words]");
  const word = (event) => event.target.closest(".word");
  const picture = (event) => event.target.closest(".patches");

  root.addEventListener("pointerover", (event) => { if (block(event) && word(event)) drawn(block(event), word(event)); });
  root.addEventListener("pointerout", (event) => { if (block(event) && (word(event) || picture(event))) rest(block(event)); });
  root.addEventListener("focusin", (event) => { if (block(event) && word(event)) drawn(block(event), word(event)); });
  root.addEventListener("focusout", (event) => { if (block(event) && (word(event) || picture(event))) rest(block(event)); });
  root.addEventListener("pointermove", (event) => {
    if (!block(event) || !picture(event)) return;
    const at = under(event, block(event));
    if (at) patch(block(event), ...at);
  });
  root.addEventListener("click", (event) => {
    if (!block(event) || !word(event)) return;
    const button = word(event), on = button.getAttribute("aria-pressed") !== "true";
    for (const other of block(event).querySelectorAll(".word")) other.setAttribute("aria-pressed", String(on && other === button));
    if (on) drawn(block(event), button);
    else rest(block(event));
  });
  root.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step || !block(event) || !picture(event)) return;
    event.preventDefault();
    const grid = dataOf(block(event)).grid;
    const [row, column] = (block(event).dataset.at || `${Math.floor(grid[0] / 2)},${Math.floor(grid[1] / 2)}`).split(",").map(Number);
    patch(block(event), row + step[0], column + step[1]);
  });
}
