// What is clicked inside a view, told to the page: a head, a unit to switch, an example, a place of the picture.
element.addEventListener('click', (event) => {
  const button = event.target.closest('button');
  if (button) {
    const { unit, off, example } = button.dataset;
    if (unit !== undefined || off !== undefined || example !== undefined) {
      trigger('click', { unit: unit ?? null, off: off ?? null, example: example ?? null });
    }
    return;
  }
  const map = event.target.closest('img.sx-map');
  if (map) {
    const box = map.getBoundingClientRect();
    trigger('click', { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height, move: null });
  }
});
element.addEventListener('keydown', (event) => {
  const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  if (event.target.closest('img.sx-map') && moves[event.key]) {
    event.preventDefault();
    trigger('click', { x: null, y: null, move: moves[event.key] });
  }
});
