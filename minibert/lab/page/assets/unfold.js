// The arithmetic that made a cell: its equation with the numbers put in, and every sum as a table of its terms.

function unfold(t, kind, state, go) {
  const number = kind === "value" ? t.forward : t.backward,
    box = make("div", { class: "unfolded" });
  if (number === null) {
    box.append(
      make(
        "p",
        { class: "quiet" },
        kind === "value"
          ? "A parameter: learned, not computed."
          : "The loss itself: its gradient is 1, and everything else follows from it.",
      ),
    );
    return box;
  }
  const equation = doc.equations[number],
    values = valuesFor(t, state.part),
    env = bind(equation, state.cell);
  const context = { t, part: state.part, values, env, go };
  box.append(make("div", { class: "equation", html: equation.mathml }));
  let total;
  try {
    total = compile(equation.right, values)(env);
    box.append(make("p", { class: "numbers" }, "= ", ...inNumbers(equation.right, context)));
  } catch (error) {
    if (!(error instanceof Missing)) throw error;
    const what = missingName(error, t);
    box.append(make("p", { class: "warning" }, `Not all of its numbers are in the page, ${what} is missing.`));
  }
  box.append(
    make(
      "div",
      { class: "sums" },
      [...sumsOf(equation.right)].map((one) => sumTable(one, context)),
    ),
  );
  box.append(verdict(t, kind, state, total, placesOf(equation.right, values, 9)));
  return box;
}

function missingName(error, t) {
  const name = error.message;
  return byName.has(name) ? short(name) : `a part of what ${t.symbol} is computed from`;
}

// The total, unless numbers of it are missing, against the number that the run computed.
function verdict(t, kind, state, total, places) {
  const array = stored(t, kind, state.part);
  const known = array ? cellOf(array, state.cell) : largestAt(t, kind, state);
  const how = array?.half ? ", display precision (float16)" : array ? " (float32)" : " (one of the largest)";
  const rows = [];
  if (total !== undefined) rows.push(["computed from the equation", digits(total, places)]);
  if (known !== undefined) rows.push([`stored${how}`, digits(known, trueDigits(known, array?.half, 9))]);
  else rows.push(["stored", "not this cell, only the norm and the largest"]);
  if (total !== undefined && known !== undefined) rows.push(["difference", digits(total - known, 2)]);
  return make(
    "table",
    { class: "verdict" },
    rows.map(([what, x]) => make("tr", {}, make("th", {}, what), make("td", { class: "n" }, x))),
  );
}

function largestAt(t, kind, state) {
  const found = t.largest?.[kind === "value" ? 0 : 1]?.find(
    ([part, cell]) => part === state.part && String(cell) === String(state.cell),
  );
  return found?.[2];
}

// Outermost sums, means and maxima; a sum of sums is one.
function* sumsOf(node) {
  if (!Array.isArray(node)) return;
  if (["sum", "mean", "max"].includes(node[0])) {
    yield node;
    return;
  }
  for (const part of node) yield* sumsOf(part);
}

const WEAK = { add: 1, neg: 1, mul: 2, div: 2 };

// The right side as text and elements, tensors replaced by their numbers, sums by their totals.
function inNumbers(node, context, strength = 0) {
  const inner = (n, s = 0) => inNumbers(n, context, s),
    value = () => compile(node, context.values)(context.env);
  const wrap = (parts) => ((WEAK[node[0]] ?? 9) < strength ? ["(", ...parts, ")"] : parts);
  switch (node[0]) {
    case "num":
      return [node[1]];
    case "name":
    case "equal":
    case "tensor":
      return [numberOf(node, value(), context)];
    case "add":
      return wrap(
        node[1].flatMap((term, i) => {
          const negative = term[0] === "neg";
          return [i ? (negative ? " − " : " + ") : negative ? "−" : "", ...inner(negative ? term[1] : term, 2)];
        }),
      );
    case "mul":
      return wrap(node[1].flatMap((f, i) => [i ? " · " : "", ...inner(f, 2)]));
    case "neg":
      return wrap(["−", ...inner(node[1], 2)]);
    case "div":
      return wrap([...inner(node[1], 2), " / ", ...inner(node[2], 3)]);
    case "pow":
      return [...inner(node[1], 3), make("sup", {}, ...inner(node[2]))];
    case "root":
      return ["√(", ...inner(node[1]), ")"];
    case "call":
      return [node[1], "(", ...inner(node[2]), ")"];
  }
  const sign = { sum: "Σ", mean: "mean", max: "max" }[node[0]];
  return [
    make(
      "span",
      { class: "total", title: "the table below has its terms" },
      sign,
      make("sub", {}, node[1]),
      " ",
      digits(value(), placesOf(node, context.values, 6)),
    ),
  ];
}

function numberOf(node, x, context) {
  const title = node[0] === "equal" ? "1 where equal, else 0" : node[1];
  if (node[0] !== "tensor") return make("span", { title }, digits(x, 6));
  return link(node, context.env, x, context);
}

// A number that leads to the cell it stands in.
function link(node, env, x, { t, part, values, go }) {
  const [target, kind] = symbolTensor(t, node[1]),
    text = digits(x, trueDigits(x, values(node[1]).half, 6)),
    cell = node[2].map((index) => indexOf(index, values)(env));
  if (!target) return make("span", { title: `${node[1]}[${cell}]` }, text);
  const sequence = target.axes.includes("T") ? part : 0;
  const moved =
    sequenceOf(t, part) !== null && target.axes[0] === "N" ? [cell[0] + doc.sequences[part], ...cell.slice(1)] : cell;
  return make(
    "button",
    {
      class: "link n",
      title: `${kind === "grad" ? "gradient of " : ""}${short(target.name)}[${moved}]`,
      onclick: () => go(target, { cell: moved, part: sequence, kind }),
    },
    text,
  );
}
