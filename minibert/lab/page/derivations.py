"""From the definition to the coded line: steps in the registry's notation, so that each is drawn and computed.

Every equation of a derivation has the gradient on its left, or an intermediate of it that the trace has; a test
computes all of them on the numbers of a run.
"""

from __future__ import annotations

from typing import NamedTuple

from ..registry import Entry


class Step(NamedTuple):
    """A line of a derivation. notes: keys of NOTES."""

    text: str
    equation: str
    notes: tuple[str, ...] = ()


class Derivation(NamedTuple):
    """Two ways to one number: the chain rule line by line, and the line that is left when they are put together."""

    title: str
    definition: tuple[Step, ...]
    chunked: tuple[Step, ...]
    fused: tuple[Step, ...]


NOTES = {
    "broadcast": "Broadcast forward, sum backward: one number was used at many places, each sends its share back.",
    "twice": "Used twice, added: a tensor that several things are computed from gets the sum of their gradients.",
    "gather": "Gather forward, scatter-add backward: a row that was looked up three times gets three gradients.",
    "sum": "Sum forward, broadcast backward: every term had the factor 1, so each gets the whole gradient.",
    "constant": "A constant has no gradient: the shift by the maximum cancels in the quotient, so it may be dropped.",
    "product": "Product rule: each factor gets the gradient times the other.",
}


def derivation(entry: Entry) -> Derivation | None:
    """Of a tensor whose gradient comes from several lines of the chain rule at once."""
    if entry.gradient.startswith(f"d{entry.symbol}[n,i] = r") and "mean_j" in entry.gradient:
        return _layer_norm(entry)
    if entry.name.endswith("attention.self.scores"):
        return _softmax(entry)
    if "Φ" in entry.gradient:
        return _gelu(entry)
    if entry.symbol == "l" and " = ω[n]·(exp" in entry.gradient:
        return _cross_entropy(entry)
    return None


def notes(entry: Entry) -> list[str]:
    """Why the backward equation of any tensor has the form that it has."""
    right, found = entry.gradient.partition(" = ")[2], []
    if "[ids[n]" in right or "[seg[n]" in right or "[pos[n]" in right or "[rows[m]" in right or "[first[m]" in right:
        found.append("gather")
    if entry.is_parameter and "Σ_n" in right and "gather" not in found:
        found.append("broadcast")
    if " + " in right and "Φ" not in right and "tanh" not in right:
        found.append("twice")
    if right.count("[") == 1 and not entry.is_parameter and right.startswith("d"):
        found.append("sum")
    return [NOTES[key] for key in found]


def _layer_norm(entry: Entry) -> Derivation:
    z = entry.symbol
    s = z[-1] if z[-1] in "₁₂" else ""
    m, c, v, r, x, g = (f"{letter}{s}" for letter in ("μ", "c", "σ²", "r", "x̂", "γ"))
    y = {"": "e" if z == "g" else "x", "₁": "h", "₂": "y"}[s]
    if entry.name.endswith("embeddings.sum") and any(k == "x̃" for k in entry.symbols):
        y = "x̃"
    inner = f"d{x}[n,{{0}}]·{r}[n] + 2·{c}[n,{{0}}]·d{v}[n]/H"
    return Derivation(
        "Layer normalisation",
        (
            Step("The mean of a token's features.", f"{m}[n] = mean_i({z}[n,i])"),
            Step("Taken off.", f"{c}[n,i] = {z}[n,i] − {m}[n]"),
            Step("The variance.", f"{v}[n] = mean_i({c}[n,i]^2)"),
            Step("One over the standard deviation.", f"{r}[n] = 1/√({v}[n] + ε)"),
            Step("Normalised.", f"{x}[n,i] = {c}[n,i]·{r}[n]"),
        ),
        (
            Step("Through the gain, a factor.", f"d{x}[n,i] = d{y}[n,i]·{g}[i]", ("product",)),
            Step("r is one number for all features of the token.", f"d{r}[n] = Σ_i d{x}[n,i]·{c}[n,i]", ("broadcast",)),
            Step("The derivative of a power −1/2.", f"d{v}[n] = −d{r}[n]·{r}[n]^3/2"),
            Step("c is used twice: in x̂, and squared in the variance.", f"d{c}[n,i] = {inner.format('i')}", ("twice",)),
            Step("μ is taken off every feature.", f"d{m}[n] = −Σ_i d{c}[n,i]", ("broadcast",)),
            Step("z is used twice: in c, and in the mean.", f"d{z}[n,i] = d{c}[n,i] + d{m}[n]/H", ("twice",)),
        ),
        (
            Step("dμ put in, and dc.", f"d{z}[n,i] = {inner.format('i')} − mean_j({inner.format('j')})"),
            Step(
                "The mean of c is 0, so its term leaves the mean.",
                f"d{z}[n,i] = d{x}[n,i]·{r}[n] − mean_j(d{x}[n,j]·{r}[n]) + 2·{c}[n,i]·d{v}[n]/H",
            ),
            Step(
                "dσ² put in: 2·dσ²/H is −r³ times the mean of dx̂·c.",
                f"d{z}[n,i] = d{x}[n,i]·{r}[n] − mean_j(d{x}[n,j]·{r}[n])"
                f" − {c}[n,i]·{r}[n]^3·mean_j(d{x}[n,j]·{c}[n,j])",
            ),
            Step("c·r is x̂, once outside and once inside of the mean. This line is the code.", entry.gradient),
        ),
    )


def _softmax(entry: Entry) -> Derivation:
    e = "exp(s[h,n,{}] − max_j(s[h,n,j]))"
    total = f"Σ_l {e.format('l')}"
    return Derivation(
        "Softmax of a row of scores",
        (
            Step("The scores of a query, exponentials, over their sum.", "p[h,n,m] = exp(s[h,n,m])/Σ_l exp(s[h,n,l])"),
            Step("The largest is taken off first, so that nothing overflows.", f"p[h,n,m] = {e.format('m')}/{total}",
                 ("constant",)),
        ),
        (
            Step(
                "eˢ stands above the line, and in the sum below it, which the whole row shares: two terms.",
                f"ds[h,n,m] = {e.format('m')}·(dp[h,n,m]/({total}) − (Σ_i dp[h,n,i]·{e.format('i')})/({total})^2)",
                ("twice", "broadcast"),
            ),
            Step("Every eˢ over the sum is a probability.",
                 "ds[h,n,m] = p[h,n,m]·dp[h,n,m] − p[h,n,m]·Σ_i dp[h,n,i]·p[h,n,i]"),
        ),
        (
            Step("The same by the matrix of derivatives, ∂p_l/∂s_m = p_l·([l = m] − p_m).",
                 "ds[h,n,m] = Σ_l dp[h,n,l]·p[h,n,l]·([l = m] − p[h,n,m])"),
            Step("Taken out of the bracket. This line is the code: no T×T matrix for each row.", entry.gradient),
        ),
    )  # fmt: skip


def _gelu(entry: Entry) -> Derivation:
    row = "n,e" if "[n,e]" in entry.gradient else "n,j"
    u, d, left = f"u[{row}]", f"dg[{row}]", f"du[{row}]"
    return Derivation(
        "GELU",
        (Step("The number times the probability that a standard normal is below it.", f"g[{row}] = {u}·Φ({u})"),),
        (
            Step("The first factor's share.", f"{left} = {d}·Φ({u}) + {d}·{u}·φ({u})", ("product", "twice")),
            Step("Φ is the integral of the density, so its derivative is the density, written out.",
                 f"{left} = {d}·Φ({u}) + {d}·{u}·exp(−{u}^2/2)/√(2·π)"),
        ),
        (Step("dg taken out. This line is the code.", entry.gradient),),
    )  # fmt: skip


def _cross_entropy(entry: Entry) -> Derivation:
    loss, c = "Σ_n ω[n]·", entry.gradient[len("dl[n,")]
    return Derivation(
        "Cross-entropy of softmax",
        (Step("Minus the logarithm of the label's probability, weighted.",
              f"L = {loss}(−log(exp(l[n,label[n]])/Σ_v exp(l[n,v])))"),
         Step("The logarithm of a quotient is a difference.", f"L = {loss}(log(Σ_v exp(l[n,v])) − l[n,label[n]])")),
        (
            Step("The derivative of log is one over; the exponential stays: the label's own logit counts −1.",
                 f"dl[n,{c}] = ω[n]·exp(l[n,{c}])/(Σ_w exp(l[n,w])) − ω[n]·[{c} = label[n]]", ("twice",)),
        ),
        (
            Step("ω taken out, the largest logit taken off. This line is the code: probability minus one-hot.",
                 entry.gradient, ("constant",)),
        ),
    )  # fmt: skip
