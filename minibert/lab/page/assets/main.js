// What is chosen, the address that says so, keys.

const current = { t: doc.tensors[0], part: 0, cell: [], head: 0, kind: "value", token: null };
let update = () => {};

const start = (t) => t.shapes[0].map(() => 0);

// Choose a tensor, or another cell of it.
function go(t, { part = 0, cell = null, kind = current.kind } = {}) {
  const same =
    t === current.t && part === current.part && (cell?.[0] === current.head || t.axes.length < 3) && update.drawn;
  const kept = t === current.t ? current.cell : start(t);
  Object.assign(current, {
    t,
    part,
    kind,
    cell: cell && cell.every((i, k) => i >= 0 && i < t.shapes[part]?.[k]) ? cell : kept,
  });
  if (current.cell.length !== t.axes.length) current.cell = start(t);
  current.head = t.axes.length === 3 ? current.cell[0] : 0;
  if (same) update();
  else ((update = showCard(current, go, (c) => go(t, { part: current.part, cell: c }))), (update.drawn = true));
  showDerivation(current);
  showCheck(current);
  markChosen(t);
  markToken();
  history.replaceState(null, "", address());
  document.title = `${short(t.name)} · ${doc.title}`;
}

function address() {
  const { t, part, cell, kind } = current;
  const rest = (part ? `&s=${part}` : "") + (cell.length ? `&i=${cell}` : "") + (kind === "grad" ? "&g=1" : "");
  return `#t=${encodeURIComponent(t.name)}${rest}`;
}

function fromAddress() {
  const q = new URLSearchParams(location.hash.slice(1)),
    t = aliases.get(q.get("t") ?? "");
  if (!t) return false;
  const cell = q.get("i") ? q.get("i").split(",").map(Number) : null,
    part = Math.min(Number(q.get("s")) || 0, t.shapes.length - 1);
  go(t, { part, cell, kind: q.get("g") ? "grad" : "value" });
  return true;
}

function markToken() {
  for (const node of document.querySelectorAll("[data-token]"))
    node.classList.toggle("lit", current.token !== null && Number(node.dataset.token) === current.token);
}

function search(text) {
  const wanted = text.toLowerCase().split(/\s+/).filter(Boolean),
    found = new Set();
  for (const [name, t] of aliases)
    if (wanted.every((word) => `${name} ${t.meaning} ${t.symbol}`.toLowerCase().includes(word))) found.add(t);
  return [...found].sort((a, b) => a.at - b.at).slice(0, 12);
}

function showFound() {
  const list = byId("found"),
    text = byId("search").value;
  list.replaceChildren(
    ...(text ? search(text) : []).map((t) =>
      make(
        "button",
        {
          onclick: () => {
            closeSearch();
            go(t);
          },
        },
        make("span", { class: "symbol", html: t.mathml }),
        make("span", {}, short(t.name)),
        make("span", { class: "quiet" }, t.meaning),
      ),
    ),
  );
  list.hidden = !list.childElementCount;
  byId("found-none").textContent = text.trim() && list.hidden ? `no tensor matches “${text.trim()}”` : "";
}
const closeSearch = () => {
  const box = byId("search");
  box.value = "";
  showFound();
  box.blur();
};

const KEYS = {
  j: () => go(doc.tensors[Math.min(current.t.at + 1, doc.tensors.length - 1)]),
  k: () => go(doc.tensors[Math.max(current.t.at - 1, 0)]),
  b: () => go(current.t, { ...current, kind: current.kind === "value" ? "grad" : "value" }),
  "/": () => byId("search").focus(),
  "?": () => byId("help").showModal(),
  Escape: () => {
    closeSearch();
    if (byId("help").open) byId("help").close();
    else if (bug) chooseBug(null);
    else if (current.token !== null) lightToken(null);
  },
};

function lightToken(token) {
  current.token = token;
  if (attentionShown) showAttention(go);
  markToken();
}

document.addEventListener("keydown", (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey) return;
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement?.tagName);
  if (typing && e.key === "Enter" && document.activeElement.id === "search")
    return void byId("found").querySelector("button")?.click();
  if ((typing && e.key !== "Escape") || !KEYS[e.key]) return;
  e.preventDefault();
  KEYS[e.key]();
});
byId("search").addEventListener("input", showFound);
byId("show-help").addEventListener("click", () => byId("help").showModal());
byId("close-help").addEventListener("click", () => byId("help").close());
byId("theme").addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  repaint();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
for (const input of document.querySelectorAll("input[name=colour]"))
  input.addEventListener("change", () => {
    chooseBug(null);
    colouring = input.value;
    colourMap();
  });
for (const chip of document.querySelectorAll("button.token"))
  chip.addEventListener("click", () =>
    lightToken(current.token === Number(chip.dataset.token) ? null : Number(chip.dataset.token)),
  );
for (const node of document.querySelectorAll("a[data-t], circle[data-t], rect[data-t]"))
  node.addEventListener("click", (e) => {
    e.preventDefault();
    go(byName.get(node.dataset.t));
    if (innerWidth < 1100) byId("card").scrollIntoView();
  });
byId("bug-choice")?.addEventListener("change", (e) => chooseBug(e.target.value === "" ? null : Number(e.target.value)));
window.addEventListener("hashchange", fromAddress);

let attentionShown = false;
function repaint() {
  colourMap();
  update.drawn = false;
  go(current.t, { ...current });
  if (attentionShown) showAttention(go);
}

new IntersectionObserver(
  (entries, observer) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    attentionShown = true;
    showAttention(go);
  },
  { rootMargin: "400px" },
).observe(byId("attention"));

document.documentElement.classList.add("script");
colourMap();
if (!fromAddress()) go(byName.get(doc.start));
window.minibert = { doc, byName, compute, normalCdf, hexFloat }; // for the console
