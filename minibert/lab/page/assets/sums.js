// A sum as a table of its terms.

const SHOWN = 12; // terms before "all of them"

// One sum: its terms by size, with factors, the total and, where numbers are missing, how many.
function sumTable(node, context) {
  const letters = [],
    { values } = context;
  let body = node;
  do letters.push(body[1]);
  while (node[0] === "sum" && (body = body[2])[0] === "sum");
  if (node[0] !== "sum") body = node[2];
  const factors = body[0] === "mul" ? body[1] : [body];
  let terms = [],
    missing = 0,
    sizes,
    compiled,
    whole;
  try {
    sizes = letters.map((letter) => extent(letter, body, values));
    ((compiled = factors.map((f) => compile(f, values))), (whole = compile(body, values)));
  } catch (error) {
    if (!(error instanceof Missing)) throw error;
    return make(
      "p",
      { class: "warning" },
      `The terms over ${letters.join(", ")} need ${missingName(error, context.t)}, which is not in the page; ` +
        `the appendix says what is left out.`,
    );
  }
  const env = context.env.slice(),
    count = sizes.reduce((a, b) => a * b, 1);
  for (let k = 0; k < count; k++) {
    let rest = k;
    const at = sizes.map((size, j) => {
      const below = sizes.slice(j + 1).reduce((a, b) => a * b, 1),
        i = Math.floor(rest / below);
      rest %= below;
      return i;
    });
    letters.forEach((letter, j) => (env[slotOf(letter)] = at[j]));
    try {
      terms.push([at, whole(env)]);
    } catch (error) {
      if (!(error instanceof Missing)) throw error;
      missing++;
    }
  }
  const total =
    node[0] === "max"
      ? Math.max(...terms.map((x) => x[1]))
      : terms.reduce((s, x) => s + x[1], 0) / (node[0] === "mean" ? count : 1);
  const largest = Math.max(...terms.map((x) => Math.abs(x[1])), 1e-300);
  terms = terms.map((x, k) => [...x, k]).sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]) || a[2] - b[2]);
  const places = (most) => placesOf(body, values, most);
  const rows = (from, to) =>
    terms.slice(from, to).map(([at, x]) => {
      letters.forEach((letter, j) => (env[slotOf(letter)] = at[j]));
      const local = { ...context, env };
      const bar = make("span", { class: x < 0 ? "share minus" : "share" });
      bar.style.width = `${(100 * Math.abs(x)) / largest}%`;
      return make(
        "tr",
        {},
        at.map((i, j) => make("td", { class: "i" }, String(i), placeWord(letters[j], body, context, i))),
        factors.length > 1
          ? factors.map((f, j) =>
              make(
                "td",
                { class: "n" },
                f[0] === "tensor"
                  ? link(f, env, compiled[j](env), local)
                  : digits(compiled[j](env), placesOf(f, values, 5)),
              ),
            )
          : [],
        make(
          "td",
          { class: "n" },
          factors.length === 1 && body[0] === "tensor" ? link(body, env, x, local) : digits(x, places(6)),
        ),
        make("td", { class: "bar-cell" }, bar),
      );
    });
  const heads = factors.length > 1 ? factors.map((f) => make("th", {}, words(f))) : [];
  const table = make("tbody", {}, rows(0, SHOWN));
  const more =
    terms.length > SHOWN &&
    make(
      "button",
      {
        class: "more",
        onclick: (e) => {
          table.append(...rows(SHOWN, 2000));
          e.target.remove();
        },
      },
      `the other ${Math.min(terms.length, 2000) - SHOWN} terms`,
    );
  const what = { sum: "Sum", mean: "Mean", max: "Maximum" }[node[0]];
  return make(
    "details",
    { class: "sum", open: node[0] !== "max" },
    make(
      "summary",
      {},
      `${what} over ${letters.join(", ")}: ${terms.length} terms, ${what.toLowerCase()} `,
      make("b", {}, digits(total, places(9))),
      missing ? `; ${missing} more terms are not in the page` : "",
    ),
    make(
      "table",
      {},
      make(
        "thead",
        {},
        make(
          "tr",
          {},
          letters.map((l) => make("th", {}, l)),
          heads,
          make("th", {}, factors.length > 1 ? (node[0] === "sum" ? "product" : "term") : words(body)),
          make("th"),
        ),
      ),
      table,
    ),
    more || null,
  );
}

// The word that a letter's value stands for, where it runs along tokens, words or classes.
function placeWord(letter, body, { t, part }, i) {
  for (const node of walk(body)) {
    const axis = node[0] === "tensor" ? node[2].findIndex((index) => index[0] === "var" && index[1] === letter) : -1;
    const target = axis >= 0 ? symbolTensor(t, node[1])[0] : null;
    if (!target || axis >= target.axes.length) continue;
    const inside = sequenceOf(t, part) !== null && target.axes[axis] === "N" ? doc.sequences[part] : 0;
    const label = placeLabel(target, axis, i + inside, part);
    return label === null || label === i ? "" : make("bdi", { class: "quiet" }, ` ${label}`);
  }
  return "";
}

function words(node) {
  const plain = (n) =>
    n[0] === "var" || n[0] === "num"
      ? n[1]
      : n[0] === "plus"
        ? `${plain(n[1])}+${plain(n[2])}`
        : n[0] === "times"
          ? n[1] + n[2]
          : n[0] === "whole"
            ? `${n[1]}÷${n[2]}`
            : n[0] === "rest"
              ? `${n[1]}%${n[2]}`
              : n[0] === "tensor"
                ? `${n[1]}[${n[2].map(plain)}]`
                : n[1];
  return node[0] === "tensor"
    ? plain(node)
    : node[0] === "name"
      ? node[1]
      : node[0] === "equal"
        ? `[${plain(node[1])} = ${plain(node[2])}]`
        : node[0] === "call"
          ? `${node[1]}(…)`
          : "(…)";
}
