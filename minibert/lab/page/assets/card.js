// The card of the chosen tensor.

function showCard(state, go, choose) {
  const t = state.t,
    card = byId("card-body");
  card.replaceChildren(cardHead(t, go), cardFacts(t), equations(t), selectors(t, state, go));
  const readout = make("p", { class: "readout" });
  const say = (cell) => readout.replaceChildren(...inWords(t, state, cell ?? state.cell, !!cell));
  const maps = ["value", "grad"].map((kind) =>
    heatmap(t, kind, state, choose, (cell) => {
      maps.forEach((m) => m.frame(cell ?? state.cell));
      say(cell);
    }),
  );
  const inspector = make("section", { id: "inspector", "aria-label": "The chosen cell" });
  card.append(
    make(
      "div",
      { class: "pair" },
      maps.map((m) => m.node),
    ),
    make(
      "p",
      { class: "how" },
      "How to read this: one coloured cell is one number; blue is below 0, orange above, and where all are positive " +
        "bright is large. Both pictures have one cursor; click a cell to see the arithmetic that made it.",
    ),
    readout,
    statisticsTable(t, maps),
    inspector,
  );
  const update = () => {
    maps.forEach((m) => m.frame(state.cell));
    say(null);
    showInspector(inspector, t, state, go);
  };
  update();
  return update;
}

function cardHead(t, go) {
  const step = (by) => doc.tensors[(t.at + by + doc.tensors.length) % doc.tensors.length];
  return make(
    "header",
    { class: "card-head" },
    make("span", { class: "symbol", html: t.mathml }),
    make(
      "div",
      {},
      make("h2", {}, t.name),
      make("p", {}, t.meaning, t.parameter ? " · parameter, learned" : " · activation, computed"),
    ),
    make(
      "nav",
      { "aria-label": "Along the tape" },
      make(
        "button",
        { title: "the tensor before (k)", "aria-label": "the tensor before", onclick: () => go(step(-1)) },
        "↑",
      ),
      make(
        "button",
        { title: "the next tensor (j)", "aria-label": "the next tensor", onclick: () => go(step(1)) },
        "↓",
      ),
    ),
  );
}

function cardFacts(t) {
  const axes = t.axes.map((axis, k) => [
    axis,
    `${doc.axes[axis.replace("′", "")]}${axis.endsWith("′") ? " attended to" : ""}`,
    t.shapes.map((s) => s[k]),
  ]);
  const sizes = (list) => [...new Set(list)].join(", ");
  const words = axes.length
    ? axes.flatMap(([axis, what, size], k) => [
        k ? " × " : "",
        make("b", {}, axis),
        ` ${what} `,
        make("span", { class: "n" }, sizes(size)),
      ])
    : ["one number"];
  const facts = [["axes", words]];
  if (t.aliases.length)
    facts.push(["also called", t.aliases.map((name, k) => [k ? ", " : "", make("code", {}, name)]).flat()]);
  const half = t.value?.[0]?.half,
    row = t.check[0];
  if (half) facts.push(["precision", ["display precision: float16 of numbers that were computed in float64"]]);
  if (bug) facts.push(["gradient", underBug(t)]);
  else if (row)
    facts.push([
      "gradient",
      [
        make("span", { class: row[3] === "ok" ? "ok" : "bad" }, row[3] === "ok" ? "✓ right" : `✗ ${row[3]}`),
        ` against the complex step: error ${digits(row[1], 2)}, allowed ${digits(row[2], 2)}`,
      ],
    ]);
  return make(
    "dl",
    { class: "facts" },
    facts.flatMap(([term, words]) => [make("dt", {}, term), make("dd", {}, words)]),
  );
}

function equations(t) {
  const side = (title, number, code) => {
    if (number === null && !code) return null;
    return make(
      "section",
      { class: "side" },
      make("h3", {}, title),
      number === null
        ? null
        : make("div", {
            class: doc.equations[number].text.length > 58 ? "equation long" : "equation",
            html: doc.equations[number].mathml,
          }),
      code && source(code),
    );
  };
  return make("div", { class: "pair" }, side("Forward", t.forward, t.code), side("Backward", t.backward, t.backcode));
}

function source([file, number]) {
  const lines = Object.entries(doc.sources[file])
    .map(([n, text]) => [Number(n), text])
    .filter(([n]) => Math.abs(n - number) <= 3);
  const indent = Math.min(
    ...lines.filter(([, text]) => text.trim()).map(([, text]) => text.length - text.trimStart().length),
  );
  return make(
    "div",
    { class: "source" },
    make("div", { class: "quiet" }, `${file}:${number}`),
    make(
      "pre",
      {},
      lines.map(([n, text]) =>
        make(
          "span",
          { class: n === number ? "line here" : "line" },
          `${String(n).padStart(4)}  ${text.slice(indent)}\n`,
        ),
      ),
    ),
  );
}

function selectors(t, state, go) {
  const box = make("div", { class: "selectors" });
  const choice = (label, count, now, change, names = (k) => k) =>
    box.append(
      make(
        "label",
        {},
        label,
        " ",
        make(
          "select",
          { onchange: (e) => change(Number(e.target.value)) },
          Array.from({ length: count }, (_, k) => make("option", { value: k, selected: k === now }, String(names(k)))),
        ),
      ),
    );
  if (t.shapes.length > 1)
    choice("sequence", t.shapes.length, state.part, (part) => go(t, { part, cell: t.shapes[part].map(() => 0) }));
  if (t.axes.length === 3)
    choice("head", t.shapes[0][0], state.head, (head) =>
      go(t, { part: state.part, cell: [head, ...state.cell.slice(1)] }),
    );
  return box;
}

function inWords(t, state, cell, hovering) {
  const where = cell.map((i, k) => {
    const label = placeLabel(t, k, i, state.part);
    return `${t.axes[k]} ${i}${label === null || label === i ? "" : ` “${label}”`}`;
  });
  const number = (kind) => {
    try {
      const read = reader(t, kind, state.part);
      return read.text(read(cell), 6);
    } catch {
      return t.backward === null && kind === "grad" ? "1" : "not in the page";
    }
  };
  return [
    make("span", { class: "quiet" }, hovering ? "under the cursor " : "chosen cell "),
    make("bdi", {}, where.join(", ") || "the number"),
    " · value ",
    make("b", { class: "n" }, number("value")),
    " · gradient ",
    make("b", { class: "n" }, number("grad")),
  ];
}

function showInspector(box, t, state, go) {
  const kind = state.kind,
    tab = (which, label) =>
      make(
        "button",
        { role: "tab", "aria-selected": String(kind === which), onclick: () => go(t, { ...state, kind: which }) },
        label,
      );
  const number = (() => {
    try {
      const read = reader(t, kind, state.part),
        x = read(state.cell);
      return ` = ${read.text(x, 9)}` + (read.half ? ", in float16" : `, ${hexFloat(x)}`);
    } catch {
      return "";
    }
  })();
  box.replaceChildren(
    make(
      "h3",
      {},
      "Unfolded: ",
      make("code", {}, `${kind === "grad" ? "d" : ""}${t.symbol}${state.cell.length ? `[${state.cell}]` : ""}`),
      make("span", { class: "quiet n" }, number),
    ),
    make(
      "div",
      { role: "tablist", class: "tabs" },
      tab("value", "forward: how the value was made"),
      tab("grad", "backward: how the gradient was made"),
    ),
    unfold(t, kind, state, go),
  );
}
