"""The exercises: names, levels, hints, limits. Texts only: what is right is the reference's own source."""

from __future__ import annotations

from typing import NamedTuple

from .operators import OPERATORS

LEVELS = {
    "fill in": "write the backward pass of an operator",
    "find": "a backward pass has one planted bug: find and repair it",
    "derive": "a backward pass in many steps is given: write the fused form",
    "model": "train BERT with backward passes of your own",
}


class Limits(NamedTuple):
    """What a fused form must keep to: statements in its body; loops, one inside the other; bytes at a time, in units
    of its input (0 for any)."""

    statements: int
    loops: int = 0
    memory: int = 0


class Exercise(NamedTuple):
    """name, which is the file's; level, a key of LEVELS; title, a line; operators, whose backward is to be written.

    hints   the first ones; the catalogue of bugs and the reference's docstring give the others
    bug     "find": the slug of the planted bug
    limits  "derive"
    """

    name: str
    level: str
    title: str
    operators: tuple[str, ...]
    hints: tuple[str, ...] = ()
    bug: str = ""
    limits: Limits | None = None


def _fill(operator: str, *hints: str) -> Exercise:
    return Exercise(f"fill_{operator}", "fill in", OPERATORS[operator].title, (operator,), hints)


def _find(name: str, grade: str, bug: str, operator: str) -> Exercise:
    return Exercise(f"find_{name}", "find", f"{OPERATORS[operator].title} ({grade})", (operator,), (), bug)


def _derive(operator: str, title: str, limits: Limits, *hints: str) -> Exercise:
    return Exercise(f"derive_{operator}", "derive", title, (operator,), hints, limits=limits)


EXERCISES = (
    _fill("tanh",
          "The cache holds the output, not the input. Can the slope be written with it?",
          "tanh = sinh/cosh; the quotient rule leaves (cosh² - sinh²)/cosh². Divide it out."),
    _fill("linear",
          "Write one entry, yₙₒ = Σᵢ xₙᵢWₒᵢ + bₒ, and ask of each variable in which entries of y it stands.",
          "Multiply by dyₙₒ and sum over the indices that the variable does not have; the shapes then tell the order."),
    _fill("embedding",
          "What if an id occurs twice? Each use sends its gradient back, and they add up.",
          "`dtable[ids] += dy` keeps one of several rows with the same id. NumPy has a function that does not."),
    _fill("gelu",
          "y is a product, x·Φ(x), and both factors depend on x.",
          "The derivative of the distribution Φ is the density φ(x) = exp(-x²/2)/√(2π)."),
    _fill("gelu_new",
          "The product rule once, for x/2 and 1 + tanh u, then the chain rule through tanh and through u(x).",
          "t = tanh u is in the cache, and tanh'(u) = 1 - t². What is du/dx?"),
    _fill("dropout",
          "An element is multiplied by a number that does not depend on x: 0, or 1/(1 - rate).",
          "The same element needs the same number. The cache holds all that the mask is made from."),
    _fill("softmax",
          "Each probability depends on all scores of its row: ∂pᵢ/∂sⱼ = pᵢ([i = j] - pⱼ).",
          "Put it into dsⱼ = Σᵢ dpᵢ ∂pᵢ/∂sⱼ and take pⱼ out of the sum. No T×T array is needed."),
    _fill("cross_entropy",
          "The loss of a row is log Σ exp(x) - x[label]. The first term's derivative is a function you know.",
          "Each labelled row counts 1/n, the others 0: that is `weights`. And dloss multiplies everything."),
    _fill("layer_norm",
          "γ and β serve every row: sums over the rows. Then dx̂ = dy·γ, and one row at a time.",
          "x reaches x̂ in three ways: directly, through the mean and through the deviation. Each gives one term."),
    _fill("add_layer_norm",
          "y = LN(drop(x) + residual): go back through the three, the last one first.",
          "A sum hands its gradient to both addends. Which of them went through dropout?"),
    _fill("feed_forward",
          "Read the forward pass backwards: outer linear layer, activation, inner linear layer.",
          "Each step's dx is the dy of the step before. `_ACTIVATIONS[name][1]` is the activation's backward."),
    _fill("attention",
          "One sequence at a time: context = P v, P = drop(probs), probs = softmax(scores), scores = q kᵀ/√D.",
          "A product C = A B gives dA = dC Bᵀ and dB = Aᵀ dC; .swapaxes(-1, -2) transposes every head. Softmax, "
          "dropout and their caches are imported. The results go into `_heads(dqkv[start:end], num_heads)`, a view."),

    _find("tanh", "easy", "tanh-square", "tanh"),
    _find("silu", "easy", "silu-gate", "silu"),
    _find("linear", "easy", "linear-bias-mean", "linear"),
    _find("squared_error", "easy", "squared-two", "mean_squared_error"),
    _find("gelu_1", "easy", "gelu-density", "gelu"),
    _find("dropout_1", "easy", "dropout-scale", "dropout"),
    _find("feed_forward_1", "easy", "feed-forward-activation", "feed_forward"),
    _find("layer_norm_1", "easy", "embedding-norm-mean", "layer_norm"),
    _find("relu", "medium", "relu-gradient-sign", "relu"),
    _find("gelu_2", "medium", "gelu-half", "gelu"),
    _find("gelu_new_1", "medium", "gelu-new-cubic", "gelu_new"),
    _find("gelu_new_2", "medium", "gelu-new-half", "gelu_new"),
    _find("dropout_2", "medium", "dropout-transposed", "dropout"),
    _find("embedding_1", "medium", "embedding-repeated", "embedding"),
    _find("embedding_2", "medium", "embedding-lookup", "embedding"),
    _find("masked_rows", "medium", "gather-shifted", "gather_rows"),
    _find("binary", "medium", "binary-sigmoid", "binary_cross_entropy"),
    _find("cosine", "medium", "cosine-length", "cosine"),
    _find("cross_entropy_1", "medium", "loss-all-rows", "cross_entropy"),
    _find("residual_1", "medium", "residual-unmasked", "add_layer_norm"),
    _find("residual_2", "medium", "residual-pre-norm", "add_layer_norm"),
    _find("layer_norm_2", "medium", "layer-norm-gain-dxhat", "layer_norm"),
    _find("layer_norm_3", "medium", "layer-norm-axis", "layer_norm"),
    _find("attention_1", "medium", "softmax-diagonal", "attention"),
    _find("attention_2", "medium", "attention-scale-dk", "attention"),
    _find("attention_3", "medium", "attention-dv-transpose", "attention"),
    _find("attention_4", "medium", "attention-dk-dv", "attention"),
    _find("spans", "hard", "span-upstream", "span_cross_entropy"),
    _find("cross_entropy_2", "hard", "loss-ignored", "cross_entropy"),
    _find("gelu_new_3", "hard", "gelu-new-exact-form", "gelu_new"),
    _find("feed_forward_2", "hard", "feed-forward-stale", "feed_forward"),
    _find("feed_forward_3", "hard", "feed-forward-activated", "feed_forward"),
    _find("layer_norm_4", "hard", "layer-norm-rstd-cubed", "layer_norm"),
    _find("layer_norm_5", "hard", "layer-norm-unbiased", "layer_norm"),
    _find("layer_norm_6", "hard", "layer-norm-eps", "layer_norm"),
    _find("attention_5", "hard", "attention-reshape", "attention"),
    _find("attention_6", "hard", "softmax-axis", "attention"),
    _find("attention_7", "hard", "attention-scale-width", "attention"),
    _find("attention_8", "hard", "attention-dropout-softmax", "attention"),
    _find("attention_9", "hard", "attention-dropout-offset", "attention"),
    _find("attention_10", "hard", "attention-causal-leak", "attention"),

    _derive("gelu", "GELU's slope in closed form", Limits(statements=5),
            "Put u = x/√2 into the exponential and collect the constants: 2/√π, 1/2 and 1/√2.",
            "(2/√π)·(1/2)·(1/√2) = 1/√(2π): what stands in front of x·exp(-x²/2) is the normal density."),
    _derive("softmax", "softmax without its Jacobian", Limits(statements=4, memory=12),
            "(diag(p) - p pᵀ) dp: multiply the vector into the bracket before you form the matrix.",
            "diag(p) dp is p·dp, number by number, and p (pᵀ dp) is p times one number a row."),
    _derive("cross_entropy", "softmax and cross-entropy in one", Limits(statements=6),
            "Put dtotal = dlse/total into dtotal·e. What is e/total?",
            "dlse and dpicked are one number with two signs: it can be taken out of the whole row."),
    _derive("layer_norm", "layer normalisation: two projections", Limits(statements=8),
            "(x - μ)·r is x̂, which the cache holds: write drstd with it, and dvariance, and see powers of r cancel.",
            "dmean/H becomes a mean over dx̂, the term with dvariance x̂ times another mean; r stands in front of all."),
    _derive("attention", "dq, dk, dv as matrix products", Limits(statements=19, loops=2),
            "`ddropped[i, j] = do[i] @ v[j]` for all i and j is one product with a transpose; so is the sum into dv.",
            "One loop, over the sequences: heads are the first axis, and `@` works on the last two. Softmax's Jacobian "
            "goes as in derive_softmax."),

    Exercise("train_head", "model", "the heads: linear, tanh, rows, cross-entropy",
             ("linear", "tanh", "gather_rows", "cross_entropy"),
             ("Solve fill_linear, fill_tanh and fill_cross_entropy first; then import what you wrote: "
              "`from fill_linear import linear_backward`.",
              "gather_rows is the embedding's lookup under another name, so its backward is the same sum.")),
    Exercise("train_bert", "model", "every operator of the encoder and its heads",
             ("linear", "embedding", "gather_rows", "gelu", "tanh", "dropout", "layer_norm", "add_layer_norm",
              "feed_forward", "attention", "cross_entropy"),
             ("Every function but one has a fill-in exercise of its own; import what you wrote there: "
              "`from fill_attention import attention_backward`.",
              "If each function passes and the model does not, look at totals: a weight that is used twice gets both "
              "gradients, added in place.")),
)  # fmt: skip
