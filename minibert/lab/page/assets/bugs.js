// Break it: a planted bug turns the map red where gradients become wrong.

const WRONG = 1e-6; // relative change from which a gradient counts as wrong
let bug = null;

const bugName = () => `bug ${doc.bugs.indexOf(bug) + 1}`;

// What a card says of its gradient while a bug is chosen.
function underBug(t) {
  const change = bug.change[t.at];
  return change > WRONG
    ? [
        make("span", { class: "bad" }, `✗ wrong with ${bugName()}`),
        `: changed by ${digits(change, 2)} of its norm; the numbers here are those without the bug`,
      ]
    : [make("span", { class: "ok" }, `✓ right with ${bugName()}, too`), ": the bug does not change it"];
}

function chooseBug(number) {
  bug = number === null ? null : doc.bugs[number];
  byId("bug-choice").value = number ?? "";
  repaint();
  const box = byId("bug-body");
  if (!bug) return box.replaceChildren();
  const wrong = doc.tensors.filter((_, k) => bug.change[k] > WRONG),
    activations = wrong.filter((t) => !t.parameter);
  const say =
    `${wrong.length} of ${doc.tensors.length} gradients are wrong: ${activations.length} of ` +
    `activations, ${wrong.length - activations.length} of parameters. Which line is it?`;
  const first = activations.at(-1) ?? wrong[0];
  const hint = make(
    "details",
    {},
    make("summary", {}, "a hint"),
    make(
      "p",
      {},
      bug.hint,
      " The first wrong gradient on the way back from the loss is ",
      make("a", { href: `#t=${encodeURIComponent(first.name)}` }, first.name),
      ".",
    ),
  );
  const answer = make(
    "details",
    { id: "bug-answer" },
    make("summary", {}, "reveal the line"),
    make("p", {}, make("b", {}, bug.name), `, in ${bug.operator}${bug.call}. ${bug.why}`),
    make(
      "pre",
      { class: "diff" },
      make("span", { class: "line gone" }, `− ${bug.before}\n`),
      make("span", { class: "line new" }, `+ ${bug.after}\n`),
    ),
  );
  box.replaceChildren(make("p", { "aria-live": "polite" }, say), hint, answer);
}
