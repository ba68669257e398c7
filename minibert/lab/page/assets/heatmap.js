// A matrix as coloured cells on a canvas, with row labels and a frame around the chosen cell.

const MOST_CELLS = 250000; // of a picture; of larger ones some rows and columns are drawn
const MOST_TERMS = 6e6; // of a gradient that is computed for its picture

// The axes that are rows and columns: the last two, or one of them.
function picture(t, part, head) {
  const shape = t.shapes[part],
    n = shape.length;
  const rows = n === 0 || (n === 1 && !isTokens(t.axes[0])) ? 1 : shape[Math.max(n - 2, 0)];
  const columns = n === 0 || (n === 1 && isTokens(t.axes[0])) ? 1 : shape[n - 1];
  const cell = (r, c) => (n === 0 ? [] : n === 1 ? [isTokens(t.axes[0]) ? r : c] : n === 2 ? [r, c] : [head, r, c]);
  const rowAxis = n === 0 || (n === 1 && !isTokens(t.axes[0])) ? -1 : Math.max(n - 2, 0);
  return { rows, columns, cell, rowAxis };
}
const isTokens = (axis) => "NTMB".includes(axis[0]);

// (cell) => number for a tensor's value or gradient; for a parameter's gradient by its equation. Its `text` writes one.
function reader(t, kind, part) {
  const array = stored(t, kind, part);
  if (array)
    return Object.assign((cell) => cellOf(array, cell), {
      text: (x, places) => digits(x, trueDigits(x, array.half, places)),
      half: !!array.half,
    });
  if (kind !== "grad" || !t.parameter || t.backward === null) throw new Missing(t.name);
  const equation = doc.equations[t.backward],
    f = compile(equation.right, valuesFor(t, part)),
    most = (places) => placesOf(equation.right, valuesFor(t, part), places);
  const at = equation.indices.map(slotOf),
    env = [];
  const read = (cell) => {
    for (let k = 0; k < at.length; k++) env[at[k]] = cell[k];
    return f(env);
  };
  return Object.assign(read, { text: (x, places) => digits(x, most(places)), half: most(9) < 9 });
}

// Which rows and columns are drawn: those that are stored, of many only some.
function drawn(t, part, view) {
  const kept = t.value ? decode(t.value[part]) : {};
  const rows = kept.rows ? [...kept.rows.keys()] : Array.from({ length: view.rows }, (_, k) => k);
  const columns = kept.columns ? [...kept.columns.keys()] : Array.from({ length: view.columns }, (_, k) => k);
  const most = t.parameter ? Math.min(MOST_CELLS, MOST_TERMS / (doc.labels.N.length + 1)) : MOST_CELLS;
  let step = 1;
  while (Math.ceil(rows.length / step) * Math.ceil(columns.length / step) > most) step++;
  const every = (list) => list.filter((_, k) => k % step === 0);
  return { rows: every(rows), columns: every(columns), step };
}

function readCells(t, kind, part, view) {
  const read = reader(t, kind, part);
  const { rows, columns, step } = drawn(t, part, view);
  const data = new Float64Array(rows.length * columns.length);
  let largest = 0,
    smallest = Infinity;
  rows.forEach((r, a) =>
    columns.forEach((c, b) => {
      const x = (data[a * columns.length + b] = read(view.cell(r, c)));
      if (Number.isFinite(x)) ((largest = Math.max(largest, Math.abs(x))), (smallest = Math.min(smallest, x)));
    }),
  );
  return { data, rows, columns, step, largest, smallest };
}

function paint(canvas, cells, scale = cells.largest) {
  const { data, rows, columns } = cells,
    c = canvas.getContext("2d");
  canvas.width = columns.length;
  canvas.height = rows.length;
  const image = c.createImageData(canvas.width, canvas.height),
    positive = cells.smallest >= 0 && cells.largest > 0;
  for (let k = 0; k < data.length; k++) {
    const x = data[k],
      rgb = Number.isFinite(x) ? (positive ? sequential(x / scale) : diverging(x / (scale || 1))) : [128, 128, 128];
    image.data.set([rgb[0], rgb[1], rgb[2], 255], 4 * k);
  }
  c.putImageData(image, 0, 0);
}

// The whole figure: title, labels, canvas, frame, readout. choose(cell) is called for a click or an arrow key.
function heatmap(t, kind, state, choose, hover) {
  const view = picture(t, state.part, state.head),
    title = kind === "value" ? "Value" : "Gradient of the loss";
  let cells;
  try {
    cells = readCells(t, kind, state.part, view);
  } catch (error) {
    if (!(error instanceof Missing)) throw error;
    return { node: make("figure", { class: "heat" }, make("figcaption", {}, title), missingNote(t, kind)), frame() {} };
  }
  const { rows, columns } = cells,
    canvas = make("canvas"),
    frame = make("div", { class: "frame" });
  paint(canvas, cells);
  const perRow = Math.min(Math.max(170 / rows.length, rows.length <= 30 ? 12 : 2), 22);
  const height = Math.min(Math.max(rows.length * perRow, 22), 360);
  const rowHeight = height / rows.length,
    labels = make("div", { class: "labels" });
  canvas.style.height = labels.style.height = `${height}px`;
  if (columns.length === 1) canvas.style.width = "3rem";
  if (view.rowAxis >= 0 && rowHeight >= 11)
    rows.forEach((r) => {
      const text = placeLabel(t, view.rowAxis, r, state.part);
      const label = make(
        "span",
        { "data-token": tokenAt(t, view.rowAxis, r, state.part) },
        make("bdi", {}, String(text ?? r)),
      );
      label.style.height = `${rowHeight}px`;
      labels.append(label);
    });
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    const pick = (list, x, size) => list[Math.min(Math.max(Math.floor((x / size) * list.length), 0), list.length - 1)];
    return view.cell(
      pick(rows, event.clientY - box.top, box.height),
      pick(columns, event.clientX - box.left, box.width),
    );
  };
  const place = make(
    "div",
    {
      class: "canvas",
      tabindex: 0,
      role: "img",
      "aria-label": `${title} of ${t.name}, ${rows.length} by ${columns.length} cells; arrow keys move the chosen cell`,
      onclick: (e) => choose(at(e)),
      onpointermove: (e) => hover(at(e)),
      onpointerleave: () => hover(null),
      onkeydown: (e) => {
        const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[e.key];
        if (!step || !state.cell) return;
        e.preventDefault();
        const [r, c] = where(state.cell);
        const go = (list, x, by) => list[Math.min(Math.max(list.indexOf(x) + by, 0), list.length - 1)];
        choose(view.cell(go(rows, r, step[0]), go(columns, c, step[1])));
      },
    },
    canvas,
    frame,
  );
  const where = (cell) => {
    const n = cell.length;
    if (n === 0) return [0, 0];
    if (n === 1) return view.rowAxis < 0 ? [0, cell[0]] : [cell[0], 0];
    return [cell[n - 2], cell[n - 1]];
  };
  const show = (cell) => {
    const [r, c] = cell ? where(cell) : [-1, -1],
      a = rows.indexOf(r),
      b = columns.indexOf(c);
    frame.hidden = a < 0 || b < 0;
    if (frame.hidden) return;
    const width = columns.length === 1 ? "3rem" : "100%";
    Object.assign(frame.style, {
      top: `${a * rowHeight}px`,
      height: `${rowHeight}px`,
      left: `calc(${width} * ${b / columns.length})`,
      width: `calc(${width} / ${columns.length})`,
    });
  };
  const scale = make(
    "span",
    { class: "scale" },
    cells.smallest >= 0 ? `0 to ${digits(cells.largest, 3)}` : `± ${digits(cells.largest, 3)}`,
  );
  const partly = rows.length * columns.length < view.rows * view.columns;
  const note = !partly
    ? null
    : cells.step > 1
      ? `one row and column of every ${cells.step}`
      : `${rows.length} × ${columns.length} of ${view.rows} × ${view.columns}`;
  const bar = make("span", { class: cells.smallest >= 0 && cells.largest > 0 ? "bar sequential" : "bar diverging" });
  const node = make(
    "figure",
    { class: "heat" },
    make("figcaption", {}, title, bar, scale, note && make("span", { class: "quiet" }, note)),
    make("div", { class: "grid" }, labels, place),
  );
  return { node, frame: show, cells };
}

const missingNote = (t, kind) =>
  make(
    "p",
    { class: "quiet" },
    kind === "grad" && t.backward === null
      ? "The gradient of the loss with respect to itself is 1."
      : "These numbers are not in the page; the largest of them are listed below, " +
          "and the appendix says what is left out.",
  );

// The number of the token in the batch that a row belongs to, for highlighting.
function tokenAt(t, axis, i, part) {
  const letter = t.axes[axis]?.[0];
  return letter === "N" ? i : letter === "T" ? doc.sequences[part] + i : letter === "M" ? doc.labels.rows?.[i] : null;
}
