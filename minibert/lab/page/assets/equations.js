// The registry's equations, computed: the tree that Python parsed, as functions of the bound letters.

const slots = new Map();
const slotOf = (letter) => {
  if (!slots.has(letter)) slots.set(letter, slots.size);
  return slots.get(letter);
};

// erf by its series of positive terms below 3, erfc by its continued fraction beyond.
function erfc(x) {
  if (x < 0) return 2 - erfc(-x);
  if (x < 3) {
    let term = x,
      sum = x;
    for (let n = 1; term > sum * 1e-17; n++) sum += term *= (2 * x * x) / (2 * n + 1);
    return 1 - (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
  }
  let f = x;
  for (let n = 60; n > 0; n--) f = x + n / 2 / f;
  return Math.exp(-x * x) / (f * Math.sqrt(Math.PI));
}
const normalCdf = (x) => erfc(-x / Math.SQRT2) / 2;

const FUNCTIONS = {
  exp: Math.exp,
  log: Math.log,
  tanh: Math.tanh,
  relu: (x) => Math.max(x, 0),
  step: (x) => +(x > 0),
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  Φ: normalCdf,
  φ: (x) => Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI),
};

// node -> (env) => number; values(symbol) -> number or array
function compile(node, values) {
  const of = (n) => compile(n, values);
  switch (node[0]) {
    case "num": {
      const x = Number(node[1]);
      return () => x;
    }
    case "name": {
      const x = values(node[1]);
      return typeof x === "number" ? () => x : () => x.data[0];
    }
    case "tensor":
      return access(
        values(node[1]),
        node[2].map((index) => indexOf(index, values)),
      );
    case "equal": {
      const a = indexOf(node[1], values),
        b = indexOf(node[2], values);
      return (env) => +(a(env) === b(env));
    }
    case "add": {
      const terms = node[1].map(of);
      return (env) => terms.reduce((s, f) => s + f(env), 0);
    }
    case "mul":
      return product(node[1].map(of));
    case "neg": {
      const a = of(node[1]);
      return (env) => -a(env);
    }
    case "div": {
      const a = of(node[1]),
        b = of(node[2]);
      return (env) => a(env) / b(env);
    }
    case "pow": {
      const a = of(node[1]),
        b = of(node[2]);
      return (env) => Math.pow(a(env), b(env));
    }
    case "root": {
      const a = of(node[1]);
      return (env) => Math.sqrt(a(env));
    }
    case "call": {
      const f = FUNCTIONS[node[1]],
        a = of(node[2]);
      return (env) => f(a(env));
    }
  }
  return along(node, values);
}

function product(factors) {
  if (factors.length === 2) {
    const [a, b] = factors;
    return (env) => a(env) * b(env);
  }
  return (env) => factors.reduce((p, f) => p * f(env), 1);
}

function access(array, indices) {
  if (array.rows || array.columns)
    return (env) =>
      cellOf(
        array,
        indices.map((f) => f(env)),
      );
  const { data, strides } = array,
    [a, b, c] = indices,
    [s, t, u] = strides;
  if (indices.length === 1) return (env) => data[a(env) * s];
  if (indices.length === 2) return (env) => data[a(env) * s + b(env) * t];
  return (env) => data[a(env) * s + b(env) * t + c(env) * u];
}

// Σ, mean and max over all values of a letter
function along([kind, letter, body], values) {
  const size = extent(letter, body, values),
    slot = slotOf(letter),
    f = compile(body, values);
  return (env) => {
    const before = env[slot];
    let total = kind === "max" ? -Infinity : 0;
    for (let i = 0; i < size; i++) {
      env[slot] = i;
      total = kind === "max" ? Math.max(total, f(env)) : total + f(env);
    }
    env[slot] = before;
    return kind === "mean" ? total / size : total;
  };
}

function indexOf(index, values) {
  switch (index[0]) {
    case "var": {
      const slot = slotOf(index[1]);
      return (env) => env[slot];
    }
    case "num": {
      const x = Number(index[1]);
      return () => x;
    }
    case "plus": {
      const a = indexOf(index[1], values),
        b = indexOf(index[2], values);
      return (env) => a(env) + b(env);
    }
    case "tensor":
      return compile(index, values);
  }
  const slot = slotOf(index[1]),
    by = values(index[2]);
  if (index[0] === "times") return (env) => env[slot] * by;
  return index[0] === "whole" ? (env) => Math.floor(env[slot] / by) : (env) => env[slot] % by;
}

function* walk(node) {
  if (!Array.isArray(node)) return;
  if (typeof node[0] === "string") yield node;
  for (const part of node) yield* walk(part);
}

// How many values a letter has: the length of an axis that it alone runs along, or D where it counts from hD on.
function extent(letter, body, values) {
  for (const node of walk(body)) {
    if (node[0] !== "tensor") continue;
    for (let axis = 0; axis < node[2].length; axis++) {
      const index = node[2][axis];
      if (index[0] === "var" && index[1] === letter) return values(node[1]).shape[axis];
      if (index[0] === "plus" && index[1][0] === "times" && index[2][0] === "var" && index[2][1] === letter)
        return values(index[1][2]);
    }
  }
  throw new Error(`index ${letter}: no tensor has it as an axis of its own`);
}

// How many digits to show of what is computed from a node: no more than float16 keeps if it reads such numbers.
function placesOf(node, values, places) {
  for (const part of walk(node))
    if (part[0] === "tensor" || part[0] === "name")
      try {
        if (values(part[1]).half) return Math.min(places, HALF);
      } catch (error) {
        if (!(error instanceof Missing)) throw error;
      }
  return places;
}

const bind = (equation, cell) => {
  const env = [];
  equation.indices.forEach((letter, k) => (env[slotOf(letter)] = cell[k]));
  return env;
};

const valuesFor = (t, part) => (symbol) => symbolValue(t, part, symbol);

// The right side of an equation at a cell of a tensor's part. Missing says which number is not there.
const compute = (t, part, equation, cell) => compile(equation.right, valuesFor(t, part))(bind(equation, cell));
