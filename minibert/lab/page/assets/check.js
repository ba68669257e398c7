// Checks: the chosen tensor's numbers, and its error against the step of a difference.

function showCheck(state) {
  const t = state.t,
    box = byId("check-one");
  const kinds = ["one step of the chain rule, from the gradients of what is computed from it", "from here to the loss"];
  const rows = t.check.map(
    (row, k) =>
      row &&
      make(
        "tr",
        { class: row[3] === "ok" ? "" : "bad" },
        make("th", {}, kinds[k]),
        [row[0], row[1], row[2], row[1] / row[2]].map((x) => make("td", { class: "n" }, digits(x, 2))),
        make("td", {}, bug ? `${row[3]} without the bug` : row[3]),
      ),
  );
  const table =
    rows.some(Boolean) &&
    make(
      "div",
      { class: "wide" },
      make(
        "table",
        { class: "statistics" },
        make(
          "tr",
          {},
          ["", "‖gradient‖", "error", "allowed", "error/allowed", "verdict"].map((h) => make("th", {}, h)),
        ),
        rows,
      ),
    );
  box.replaceChildren(
    make("h3", {}, t.name),
    bug ? make("p", {}, underBug(t)) : "",
    table || make("p", { class: "quiet" }, "This tensor was not checked when the page was made."),
    curvePlot(t),
  );
  for (const dot of document.querySelectorAll("#check-plot [data-t]"))
    dot.classList.toggle("chosen", dot.dataset.t === t.name);
}

function curvePlot(t) {
  const errors = doc.curves[t.name];
  const others = Object.keys(doc.curves);
  if (!errors)
    return make(
      "p",
      { class: "quiet" },
      "No curve of error against step was computed for this tensor",
      others.length ? "; there is one of " : ".",
      others
        .slice(0, 8)
        .map((name, k) => [k ? ", " : "", make("a", { href: `#t=${encodeURIComponent(name)}` }, short(name))])
        .flat(),
      others.length > 8 ? " and more." : others.length ? "." : "",
    );
  const [left, top, w, h] = [54, 12, 470, 190],
    x = (k) => left + (w * k) / (errors.length - 1);
  const y = (e) => top + (h * (2 - Math.log10(Math.min(Math.max(e, 1e-14), 1e2)))) / 16;
  const points = errors.map((e, k) => (e === null ? null : [x(k), y(e)])).filter(Boolean);
  const ticks = [0, -4, -8, -12]
    .map((p) => [
      make("line", { x1: left, x2: left + w, y1: y(10 ** p), y2: y(10 ** p), class: "tick" }),
      make("text", { x: left - 8, y: y(10 ** p) + 4, "text-anchor": "end" }, `1e${p}`.replace("-", "−")),
    ])
    .flat();
  const below = errors.map((_, k) =>
    k % 2 ? make("text", { x: x(k), y: top + h + 18, "text-anchor": "middle" }, `1e−${k + 1}`) : null,
  );
  const slope = (from, per, to, label) => {
    const start = Math.log10(errors[from] || 1e-14),
      at = (k) => 10 ** (start + per * (k - from));
    return [
      make("line", { class: "slope", x1: x(from), y1: y(at(from)), x2: x(to), y2: y(at(to)) }),
      make("text", { x: x((from + to) / 2) + 8, y: y(at((from + to) / 2)) - 6 }, label),
    ];
  };
  const last = errors.length - 1;
  const slopes = [...slope(0, -2, 4, "h²"), ...slope(last, 1, last - 6, "1/h")];
  return make(
    "figure",
    {},
    make("figcaption", {}, "Error of the central difference, relative to the complex step, against its step h"),
    make(
      "svg",
      {
        class: "curve",
        viewBox: "0 0 560 226",
        width: 560,
        height: 226,
        role: "img",
        "aria-label": "error against step",
      },
      ticks,
      below,
      slopes,
      make("polyline", { points: points.map((p) => p.join()).join(" ") }),
      points.map(([cx, cy]) => make("circle", { cx, cy, r: 3 })),
    ),
    make(
      "p",
      { class: "how" },
      "How to read this: on the left the error is what a difference leaves out, and falls with h² along the first dashed line; " +
        "on the right it is rounding, which grows with 1/h along the second; the complex step, at h = 1e−30, has neither.",
    ),
  );
}
