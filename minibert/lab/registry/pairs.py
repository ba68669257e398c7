"""The tensors above the encoder in models of pairs, from the last hidden states y to the loss."""

from __future__ import annotations

from ...models.sentences import BertForSentencePairs, BertForSentenceRanking
from . import heads
from .entries import Gradient, Room


def last(room: Room, model: BertForSentencePairs) -> Gradient:
    """The gradient of the last hidden states; gives the room the symbols for it."""
    room.symbols["p_P"] = "pooling"
    if model.pooling == "cls":
        room.symbols["first"] = "first_tokens"
        return Gradient("Σ_m [first[m] = n]·dp_P[m,i]", "gather_rows_backward.return")
    room.symbols |= {"text": "texts", "size": "lengths"}
    return Gradient("dp_P[text[n],i]/size[text[n]]", "mean_pool_backward.return")


def pairs(room: Room, model: BertForSentencePairs) -> None:
    """One vector a text, the two of a pair one after the other: K = 2; their directions; cosines; the loss."""
    room.symbols |= {"K": "K", "text": "texts", "size": "lengths", "first": "first_tokens"}
    du, dv = (f"(d{x}[m÷K,i] − {x}[m÷K,i]·Σ_j d{x}[m÷K,j]·{x}[m÷K,j])" for x in "uv")
    gradient = f"dp[m,i] = ([m%K = 0]·{du} + [m%K = 1]·{dv})/√(Σ_j p[m,j]^2)"
    back = "models.sentences:BertForSentencePairs._vectors_backward.dpooled"
    if model.pooling == "cls":
        room.add("pooling", "p", "B H", "first token, [CLS]", "p[m,i] = y[first[m],i]", gradient,
            code="gather_rows.return", gradient_code=back)  # fmt: skip
    else:
        room.add("pooling", "p", "B H", "mean of the tokens", "p[m,i] = (Σ_n [text[n] = m]·y[n,i])/size[m]", gradient,
            code="mean_pool.y", gradient_code=back)  # fmt: skip
    if isinstance(model, BertForSentenceRanking):
        _directions(room, "cosines", "cosine_matrix", "scale·Σ_c dl[q,c]·v[c,i]", "scale·Σ_c dl[c,q]·u[c,i]")
        _ranking(room, model)
        return
    _directions(room, "cosine", "cosine", "ds[q]·v[q,i]", "ds[q]·u[q,i]")
    room.symbols |= {"target": "targets", "count": "targets.size"}
    room.add("cosine", "s", "Q", "cosine of the angle", "s[q] = Σ_i u[q,i]·v[q,i]",
        "ds[q] = 2·(s[q] − target[q])/count", code="cosine.return",
        gradient_code="mean_squared_error_backward.return")  # fmt: skip
    heads.loss_of(room, "loss", "L = mean_q((s[q] − target[q])^2)", "mean_squared_error.loss")


def _directions(room: Room, call: str, operator: str, du: str, dv: str) -> None:
    """u and v: the vectors of the first and the second texts, divided by their lengths."""
    for symbol, index, which, gradient in (("u", "qK", "first", du), ("v", "qK+1", "second", dv)):
        room.tap(operator, call, f"{call}.{symbol}", symbol, symbol, "Q H", f"direction of the {which} text",
            f"{symbol}[q,i] = p[{index},i]/√(Σ_j p[{index},j]^2)", f"d{symbol}[q,i] = {gradient}")  # fmt: skip


def _ranking(room: Room, model: BertForSentenceRanking) -> None:
    """l[n,c]: how well the second text of pair c fits the first of pair n."""
    room.symbols["scale"] = "scale"
    if not model.symmetric:
        dl = heads.cross_entropy(room, "loss")
    else:
        room.symbols["ω"] = "loss.rows.weights"
        halves = []
        for which, at, best in ("rows", "l[n,{}]", "max_j(l[n,j])"), ("columns", "l[{},n]", "max_j(l[j,n])"):
            log_sum = f"log(Σ_v exp({at.format('v')} − {best})) + {best}"
            heads.loss_of(room, f"loss.{which}", f"L = Σ_n ω[n]·({log_sum} − l[n,n])", "cross_entropy.return", which,
                half="/2")  # fmt: skip
        for at, best in ("l[n,{}]", "max_j(l[n,j])"), ("l[{},c]", "max_j(l[j,c])"):
            halves.append(f"exp(l[n,c] − {best})/Σ_w exp({at.format('w')} − {best})")
        code = "models.sentences:BertForSentenceRanking._loss_backward.dlogits"
        dl = Gradient(f"ω[n]·(({' + '.join(halves)})/2 − [n = c])", code)
    room.add("cosines", "l", "Q Q′", "cosines of all with all, scaled", "l[n,c] = scale·Σ_i u[n,i]·v[c,i]",
        f"dl[n,c] = {dl.equation}", code="cosine_matrix.return", gradient_code=dl.code)  # fmt: skip
