// The document, and numbers decoded from base64 when they are first asked for.

const doc = JSON.parse(document.getElementById("document").textContent);
const byName = new Map(doc.tensors.map((t, i) => [t.name, Object.assign(t, { at: i })]));
const aliases = new Map();
for (const t of doc.tensors)
  for (const other of [t.name, t.name.replace(/^bert\./, ""), ...t.aliases]) aliases.set(other, t);

class Missing extends Error {} // a number that is not in the page

function bytesOf(block) {
  const text = atob(document.getElementById("b" + block).textContent);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

function halfToNumber(h) {
  const sign = h & 0x8000 ? -1 : 1,
    exponent = (h >> 10) & 31,
    rest = h & 1023;
  if (exponent === 31) return rest ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + rest / 1024) : 2 ** -24 * rest);
}

function stridesOf(shape) {
  const strides = Array(shape.length).fill(1);
  for (let k = shape.length - 2; k >= 0; k--) strides[k] = strides[k + 1] * shape[k + 1];
  return strides;
}

// {data, shape, strides, rows, columns, half}: shape is of the whole; rows or columns say where stored ones are; half
// is the largest number where they are in float16, else 0.
function decode(spec) {
  if (spec.array) return spec.array;
  const array = { shape: spec.shape, half: spec.half ? spec.scale : 0 };
  if (spec.numbers) array.data = Float64Array.from(spec.numbers);
  else {
    const bytes = bytesOf(spec.block);
    array.data = spec.half
      ? Float64Array.from(new Uint16Array(bytes.buffer), (h) => halfToNumber(h) * spec.scale)
      : new Float32Array(bytes.buffer);
  }
  const stored = spec.shape.slice();
  if (spec.rows) ((array.rows = new Map(spec.rows.map((at, k) => [at, k]))), (stored[0] = spec.rows.length));
  if (spec.columns)
    ((array.columns = new Map(spec.columns.map((at, k) => [at, k]))), (stored[1] = spec.columns.length));
  array.stored = stored;
  array.strides = stridesOf(stored);
  return (spec.array = array);
}

function cellOf(array, cell) {
  let at = 0;
  for (let k = 0; k < cell.length; k++) {
    let i = cell[k];
    if (k === 0 && array.rows) i = array.rows.get(i) ?? -1;
    if (k === 1 && array.columns) i = array.columns.get(i) ?? -1;
    if (!(i >= 0 && i < array.stored[k])) throw new Missing(`[${cell}]`);
    at += i * array.strides[k];
  }
  return array.data[at];
}

// "value" or "grad" of a tensor's part, or null where it is not stored.
const stored = (t, kind, part = 0) => (t[kind] ? decode(t[kind][part]) : null);

const sequenceOf = (t, part) => (t.axes.includes("T") ? part : null);

// What a symbol of a tensor's equations stands for: a number or an array.
const resolved = new Map();
function symbolValue(t, part, symbol) {
  const sequence = sequenceOf(t, part),
    key = `${t.room}|${sequence}|${symbol}`;
  if (!resolved.has(key)) resolved.set(key, lookUp(doc.rooms[t.room], sequence, symbol));
  return resolved.get(key);
}

function symbolTensor(t, symbol) {
  const room = doc.rooms[t.room];
  if (symbol in room) return [byName.get(room[symbol]), "value"];
  return [byName.get(room[symbol.slice(1)]), "grad"];
}

function lookUp(room, sequence, symbol) {
  const kind = symbol in room ? "value" : "grad",
    name = room[kind === "value" ? symbol : symbol.slice(1)];
  const t = byName.get(name);
  if (!t) {
    const given = doc.given[name];
    if (given === undefined) throw new Missing(symbol);
    return typeof given === "number" ? given : decode(given[given.length > 1 ? (sequence ?? 0) : 0]);
  }
  if (!t[kind]) throw new Missing(t.name);
  const parts = t[kind].map(decode);
  if (parts.length > 1) return sequence === null ? joined(parts) : parts[sequence];
  if (sequence === null || t.axes[0] !== "N") return parts[0];
  const [from, to] = [doc.sequences[sequence], doc.sequences[sequence + 1]],
    one = parts[0],
    row = one.strides[0];
  const shape = [to - from, ...one.shape.slice(1)];
  return { ...one, shape, stored: shape, data: one.data.subarray(from * row, to * row) };
}

// Of all sequences, the tokens one after another: (A, T, D) each -> (A, N, D)
function joined(parts) {
  const [heads, , depth] = parts[0].shape,
    total = parts.reduce((n, p) => n + p.shape[1], 0);
  const shape = [heads, total, depth],
    data = new Float64Array(heads * total * depth);
  for (let h = 0; h < heads; h++) {
    let at = h * total * depth;
    for (const p of parts) {
      const block = p.shape[1] * depth;
      data.set(p.data.subarray(h * block, (h + 1) * block), at);
      at += block;
    }
  }
  return { data, shape, stored: shape, strides: stridesOf(shape), half: Math.max(...parts.map((p) => p.half)) };
}
