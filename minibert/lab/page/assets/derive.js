// Derivations: from the definition to the coded line, each line computed at the chosen cell.

let fused = false; // which of the two ways is shown

function showDerivation(state) {
  const box = byId("derivation-body"),
    t = state.t,
    d = t.derivation === undefined ? null : doc.derivations[t.derivation];
  byId("derivation").hidden = !d && !t.notes?.length;
  if (byId("derivation").hidden) return;
  const notes = (t.notes ?? []).map((text) => make("p", { class: "note" }, text));
  if (!d) return box.replaceChildren(...notes);
  const way = fused ? d.fused : d.chunked;
  const last = (steps) => computeAt(t, state, doc.equations[steps.at(-1).equation]);
  const written = (steps) => stepText(t, state, doc.equations[steps.at(-1).equation]);
  const toggle = (which, label) =>
    make(
      "button",
      {
        "aria-pressed": String(fused === which),
        onclick: () => {
          fused = which;
          showDerivation(state);
        },
      },
      label,
    );
  box.replaceChildren(
    make("h3", {}, d.title),
    make("details", {}, make("summary", {}, "Definition: the forward pass"), steps(t, state, d.definition)),
    make(
      "div",
      { class: "tabs" },
      toggle(false, "chunked: the chain rule, line by line"),
      toggle(true, "fused: to the line of code"),
    ),
    steps(t, state, way),
    make(
      "p",
      { class: "numbers" },
      `d${t.symbol}[${state.cell}]: chunked `,
      make("b", { class: "n", id: "chunked" }, written(d.chunked)),
      ", fused ",
      make("b", { class: "n", id: "fused" }, written(d.fused)),
      ", apart by ",
      make("span", { class: "n" }, digits(Math.abs(last(d.chunked) - last(d.fused)), 2)),
      ", the rounding of what is stored.",
    ),
    ...notes,
  );
}

// The equation's left side names other indices than the tensor does: of a row they are its first.
function computeAt(t, state, equation) {
  const cell = equation.indices.map((_, k) => state.cell[k]);
  try {
    return compute(t, state.part, equation, cell);
  } catch (error) {
    if (error instanceof Missing) return NaN;
    throw error;
  }
}

const stepText = (t, state, equation) =>
  digits(computeAt(t, state, equation), placesOf(equation.right, valuesFor(t, state.part), 9));

function steps(t, state, list) {
  return make(
    "ol",
    { class: "steps" },
    list.map((step) => {
      const equation = doc.equations[step.equation];
      return make(
        "li",
        {},
        make("p", {}, step.text),
        make("div", { class: "equation", html: equation.mathml }),
        make("p", { class: "numbers n" }, `= ${stepText(t, state, equation)}`),
        step.notes.length
          ? make(
              "details",
              { class: "why" },
              make("summary", {}, "why is this allowed?"),
              step.notes.map((text) => make("p", {}, text)),
            )
          : null,
      );
    }),
  );
}
