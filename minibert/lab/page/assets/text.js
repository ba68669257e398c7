// Elements, numbers in words and digits.

function make(tag, attributes = {}, ...children) {
  const svg = SVG_TAGS.has(tag),
    node = svg ? document.createElementNS(SVG_NS, tag) : document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "html")
      node.innerHTML = value; // MathML that Python made
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}
const SVG_NS = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set(["svg", "path", "circle", "rect", "line", "text", "g", "polyline"]);
const byId = (id) => document.getElementById(id);

function digits(x, places = 4) {
  if (!Number.isFinite(x)) return Number.isNaN(x) ? "not a number" : x > 0 ? "∞" : "−∞";
  if (x === 0) return "0";
  const size = Math.abs(x);
  const text = size < 1e-3 || size >= 1e5 ? x.toExponential(places - 1) : String(Number(x.toPrecision(places)));
  return text.replace("e+", "e").replaceAll("-", "−");
}

const HALF = 3; // digits that float16 keeps of a number

// How many digits of a stored number are true: float16 keeps 11 bits, and fewer below 2^-14 of the largest, `half`.
function trueDigits(x, half, places) {
  if (!half || !x) return places;
  const error = Math.max(Math.abs(x) * 2 ** -11, half * 2 ** -25);
  return Math.min(places, Math.max(1, Math.floor(Math.log10(Math.abs(x) / error))));
}

// As Python's float.hex
function hexFloat(x) {
  if (!Number.isFinite(x) || x === 0) return String(x);
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, x);
  const bits = view.getBigUint64(0),
    exponent = Number((bits >> 52n) & 2047n);
  const rest = (bits & ((1n << 52n) - 1n)).toString(16).padStart(13, "0");
  const power = exponent ? exponent - 1023 : -1022;
  return `${x < 0 ? "-" : ""}0x${exponent ? 1 : 0}.${rest}p${power >= 0 ? "+" : ""}${power}`;
}

// The words for a place along an axis
function placeLabel(t, axis, i, part) {
  const letter = t.axes[axis].replace("′", ""),
    labels = doc.labels;
  if (letter === "N") return labels.N[i] ?? i;
  if (letter === "T") return labels.N[doc.sequences[part] + i] ?? i;
  if (letter === "M") return labels.M?.[i] ?? i;
  if (letter === "V") return labels.V?.[i] ?? i;
  if (letter === "C") return labels.C?.[i] ?? i;
  return null;
}

const short = (name) => name.replace(/^bert\./, "").replace("encoder.layer.", "layer ");
