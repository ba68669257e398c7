// Statistics, histograms, downloads.

function statisticsTable(t, maps) {
  const head = ["", "min", "max", "mean", "RMS", "norm", "zeros", "of", "how many lie where, min to max", ""];
  const rows = ["Value", "Gradient"].map((title, k) => {
    const s = t.stats[k],
      kind = k ? "grad" : "value";
    return make(
      "tr",
      {},
      make("th", {}, title),
      ["min", "max", "mean", "rms", "norm"].map((key) => make("td", { class: "n" }, digits(s[key], 4))),
      make("td", { class: "n" }, String(s.zeros)),
      make("td", { class: "n" }, String(s.size)),
      make("td", {}, maps[k].cells ? histogram(maps[k].cells) : ""),
      make("td", {}, t[kind] ? make("button", { class: "more", onclick: () => download(t, kind) }, ".npy") : ""),
    );
  });
  const largest = t.largest?.map(
    (cells, k) =>
      cells &&
      make(
        "details",
        { class: "sum" },
        make("summary", {}, `The ${cells.length} largest ${k ? "gradients" : "values"}, as the run computed them`),
        make(
          "table",
          {},
          cells.map(([part, cell, x]) =>
            make(
              "tr",
              {},
              make("td", { class: "i" }, `[${cell}]${t.shapes.length > 1 ? ` of sequence ${part}` : ""}`),
              make("td", { class: "n" }, digits(x, 9)),
            ),
          ),
        ),
      ),
  );
  return make(
    "div",
    {},
    make(
      "div",
      { class: "wide" },
      make(
        "table",
        { class: "statistics" },
        make(
          "tr",
          {},
          head.map((h) => make("th", {}, h)),
        ),
        rows,
      ),
    ),
    largest ?? null,
  );
}

function histogram({ data, smallest }) {
  const finite = data.filter(Number.isFinite),
    low = smallest,
    high = finite.reduce((a, b) => Math.max(a, b), -Infinity),
    bins = Array(28).fill(0);
  for (const x of finite) bins[high > low ? Math.min(27, Math.floor(((x - low) / (high - low)) * 28)) : 14]++;
  const most = Math.max(...bins, 1);
  return make(
    "svg",
    {
      class: "histogram",
      viewBox: "0 0 112 26",
      width: 112,
      height: 26,
      role: "img",
      "aria-label": `histogram from ${digits(low, 3)} to ${digits(high, 3)}`,
    },
    bins.map((n, k) => make("rect", { x: 4 * k, y: 26 - (25 * n) / most, width: 3, height: (25 * n) / most })),
  );
}

// NumPy's file of what is stored of a tensor's part
function npyBytes(array) {
  const shape = `(${array.stored.join(", ")}${array.stored.length === 1 ? "," : ""})`;
  let head = `{'descr': '<f4', 'fortran_order': False, 'shape': ${shape}, }`;
  head += " ".repeat(63 - ((10 + head.length) % 64)) + "\n";
  const bytes = new Uint8Array(10 + head.length);
  bytes.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, head.length & 255, head.length >> 8]);
  for (let i = 0; i < head.length; i++) bytes[10 + i] = head.charCodeAt(i);
  return [bytes, Float32Array.from(array.data)];
}

function download(t, kind) {
  const part = current.part,
    url = URL.createObjectURL(new Blob(npyBytes(stored(t, kind, part))));
  const name = `${kind === "grad" ? "d." : ""}${t.name}${t.shapes.length > 1 ? `.${part}` : ""}.npy`;
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
