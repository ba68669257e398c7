// The map's boxes: colours, and which one is chosen.

const boxes = [...document.querySelectorAll("svg.map a.box, svg.strip rect[data-t]")].map((node) => [
  node,
  byName.get(node.dataset.t),
]);
let colouring = "value";

const COLOURINGS = {
  value: (t) => spread(t.stats[0].rms, ranges.value),
  grad: (t) => spread(t.stats[1].norm, ranges.grad),
  check: (t) => {
    const row = t.check[0];
    if (!row) return null;
    return row[3] !== "ok" ? RED : sequential(1 + (Math.log10(Math.max(row[1] / row[2], 1e-8)) / 8) * 0.999);
  },
};
const logs = (list) => {
  const all = list
    .filter((x) => x > 0)
    .map(Math.log10)
    .sort((a, b) => a - b);
  return [all[Math.floor(all.length * 0.02)] ?? 0, all[Math.floor(all.length * 0.98)] ?? 1];
};
const ranges = {
  value: logs(doc.tensors.map((t) => t.stats[0].rms)),
  grad: logs(doc.tensors.map((t) => t.stats[1].norm)),
};
const spread = (x, [low, high]) => sequential(x > 0 ? (Math.log10(x) - low) / (high - low || 1) : 0);

function colourMap() {
  const legend = byId("map-legend"),
    ends = { value: ranges.value, grad: ranges.grad, check: [-8, 0] }[colouring].map((p) =>
      `1e${Math.round(p)}`.replace("-", "−"),
    );
  for (const [node, t] of boxes) {
    let rgb = bug
      ? bug.change[t.at] > WRONG
        ? mix([240, 170, 120], RED, Math.min(Math.max((Math.log10(bug.change[t.at]) + 6) / 6, 0), 1))
        : isDark()
          ? [52, 58, 66]
          : [222, 228, 232]
      : COLOURINGS[colouring](t);
    const box = node.tagName === "rect" ? node : node.querySelector("rect");
    box.style.fill = rgb ? css(rgb) : "none";
    node.classList.toggle("wrong", !!bug && bug.change[t.at] > WRONG);
    const text = node.querySelector("text");
    if (text) text.style.fill = rgb ? inkOn(rgb) : "";
  }
  const what = {
    value: "RMS of the values",
    grad: "norm of the gradient",
    check: "error of the gradient over what is allowed; red if wrong",
  }[colouring];
  legend.replaceChildren(
    ...(bug
      ? [
          make("span", { class: "bar wrongs" }),
          `red: the gradient is wrong with ${bugName()}, ${digits(WRONG, 1)} to all of it`,
        ]
      : [
          make("span", { class: "n" }, ends[0]),
          make("span", { class: "bar sequential" }),
          make("span", { class: "n" }, ends[1]),
          ` ${what}`,
        ]),
  );
}

function markChosen(t) {
  for (const [node, other] of boxes) node.classList.toggle("chosen", other === t);
  const node = boxes.find(([n, other]) => other === t && n.tagName === "a")?.[0],
    block = node?.closest("details");
  if (block && !block.open) block.open = true;
  const list = byId("map"),
    box = node?.getBoundingClientRect();
  if (box && list.scrollHeight > list.clientHeight + 4) {
    const frame = list.getBoundingClientRect();
    if (box.top < frame.top + 90 || box.bottom > frame.bottom - 40)
      list.scrollTop += box.top - frame.top - frame.height / 2;
  }
}
