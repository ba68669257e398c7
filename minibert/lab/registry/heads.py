"""The tensors of BERT's heads, from the last hidden states y to the loss."""

from __future__ import annotations

from collections.abc import Callable

from ...models.heads import decoder_names
from .entries import ACTIVATIONS, Gradient, Room, layer_norm_gradient

LINEAR_DX = "linear_backward.return"
SPANS_DL = "span_cross_entropy_backward.return"


def pooler(room: Room, dz: Gradient) -> None:
    """z = tanh(W y[first token] + b). dz: the gradient of z."""
    room.symbols["first"] = "first_tokens"
    room.add("first", "t", "B H", "first token, [CLS]", "t[n,i] = y[first[n],i]", "dt[n,i] = Σ_j du[n,j]·W[j,i]",
        code="gather_rows.return", gradient_code=LINEAR_DX)  # fmt: skip
    room.add("dense", "u", "B H", "before tanh", "u[n,j] = (Σ_i t[n,i]·W[j,i]) + b[j]",
        "du[n,j] = dz[n,j]·(1 − z[n,j]^2)", code="linear.y", gradient_code="tanh_backward.return")  # fmt: skip
    room.add("activation", "z", "B H", "pooled", "z[n,j] = tanh(u[n,j])", f"dz[n,j] = {dz.equation}", code="tanh.y",
        gradient_code=dz.code)  # fmt: skip
    room.linear("dense", "the pooler", "", "du[n,o]", "t[n,i]")


def masked_lm(room: Room, loss: str) -> None:
    """logits = LN(act(W y + b)) Eᵀ + b_out at the asked places"""
    config = room.config
    room.symbols |= {"rows": "rows", "H": "H", "ε": "ε", "π": "π"}
    value, derivative = (part.format(u="u[n,j]") for part in ACTIVATIONS[config.activation])
    weight, bias = decoder_names(config)
    room.symbols |= {"E": weight, "b_V": bias}
    room.add("rows", "t", "M H", "hidden states at the asked places", "t[n,i] = y[rows[n],i]",
        "dt[n,i] = Σ_j du[n,j]·W[j,i]", code="gather_rows.return", gradient_code=LINEAR_DX)  # fmt: skip
    room.add("transform.dense", "u", "M H", "before the activation", "u[n,j] = (Σ_i t[n,i]·W[j,i]) + b[j]",
        f"du[n,j] = dg[n,j]·{derivative}", code="linear.y",
        gradient_code=f"{config.activation}_backward.return")  # fmt: skip
    room.add("transform", "g", "M H", f"after the activation, {config.activation}", f"g[n,j] = {value}",
        layer_norm_gradient("g", ""), code=f"{config.activation}.return",
        gradient_code="layer_norm_backward.dx")  # fmt: skip
    room.linear("transform.dense", "the transform", "", "du[n,o]", "t[n,i]")
    room.layer_norm("transform.LayerNorm", "g", "e", "", Gradient("Σ_v dl[n,v]·E[v,i]", LINEAR_DX), rows="M")
    room.add("decoder", "l", "M V", "logits of all words", "l[n,v] = (Σ_i e[n,i]·E[v,i]) + b_V[v]",
        "dl[n,v] = " + cross_entropy(room, loss, "v").equation, code="linear.y",
        gradient_code="linear_cross_entropy_backward.dlogits")  # fmt: skip
    if not config.tie_word_embeddings:
        room.parameter(
            "decoder.weight", "E", "V H", "decoder", "dE[v,i] = Σ_n dl[n,v]·e[n,i]", "linear_backward.dweight"
        )
    room.parameter(bias.removeprefix(room.prefix), "b_V", "V", "bias of the logits", "db_V[v] = Σ_n dl[n,v]",
        "linear_backward.dbias")  # fmt: skip


def classifier(
    room: Room, name: str, axis: str, dropout: bool, loss: str, gradient: Callable[[Room, str], Gradient]
) -> None:
    """logits = W drop(x) + b. gradient: adds the loss of the logits, gives their gradient."""
    read = "x"
    if dropout:
        room.symbols["κ"] = room.prefix + f"{name}.dropout.mask"
        room.add(f"{name}.dropout", "x̃", f"{axis} H", "what dropout leaves", "x̃[n,i] = x[n,i]·κ[n,i]",
            "dx̃[n,i] = Σ_c dl[n,c]·W[c,i]", code="dropout.return", gradient_code=LINEAR_DX)  # fmt: skip
        read = "x̃"
    dl = gradient(room, loss)
    room.add(name, "l", f"{axis} C", "logits", f"l[n,c] = (Σ_i {read}[n,i]·W[c,i]) + b[c]",
        dl.equation and f"dl[n,c] = {dl.equation}", code="linear.y", gradient_code=dl.code)  # fmt: skip
    room.linear(name, "the classifier", "", "dl[n,o]", f"{read}[n,i]", out="C")


def cross_entropy(room: Room, loss: str, c: str = "c") -> Gradient:
    """The loss of the room's logits l -> their gradient, for class c."""
    room.symbols |= {"label": f"{loss}.labels", "ω": f"{loss}.weights"}
    shifted = "exp(l[n,{}] − max_j(l[n,j]))"
    log_sum = f"log(Σ_v {shifted.format('v')}) + max_j(l[n,j])"
    loss_of(room, loss, f"L = Σ_n ω[n]·({log_sum} − l[n,label[n]])", "cross_entropy.return")
    return Gradient(
        f"ω[n]·({shifted.format(c)}/Σ_w {shifted.format('w')} − [{c} = label[n]])", "cross_entropy_backward.return"
    )


def choices(room: Room, loss: str) -> Gradient:
    """As cross_entropy, among the K texts of a question, which lie one after another."""
    room.symbols |= {"label": f"{loss}.labels", "ω": f"{loss}.weights", "K": "K"}
    one = "log(Σ_n [n÷K = q]·exp(l[n,0])) − l[qK+label[q],0]"
    loss_of(room, loss, f"L = Σ_q ω[q]·({one})", "cross_entropy.return")
    softmax = "exp(l[n,0])/Σ_m [m÷K = n÷K]·exp(l[m,0])"
    return Gradient(f"ω[n÷K]·({softmax} − [n%K = label[n÷K]])", "cross_entropy_backward.return")


def weighted_cross_entropy(room: Room, loss: str) -> Gradient:
    """As cross_entropy, with class weights and label smoothing, which are in the targets τ."""
    room.symbols |= {"τ": f"{loss}.targets"}
    shifted = "exp(l[n,{}] − max_j(l[n,j]))"
    log_sum = f"log(Σ_v {shifted.format('v')}) + max_j(l[n,j])"
    total = "(Σ_w τ[n,w])"
    loss_of(room, loss, f"L = Σ_n ({total}·({log_sum}) − Σ_c τ[n,c]·l[n,c])", "weighted_cross_entropy.return")
    return Gradient(
        f"{total}·{shifted.format('c')}/(Σ_v {shifted.format('v')}) − τ[n,c]", "weighted_cross_entropy_backward.return"
    )


def crf(room: Room, loss: str) -> Gradient:
    """As cross_entropy, of the paths through the labelled tokens. What sums over all paths, Z and P, is looked up."""
    room.symbols |= {name: f"{loss}.{name}" for name in ("label", "first", "last", "from", "to", "S")}
    room.symbols |= {"Z": f"{loss}.log_partition", "P": f"{loss}.marginals", "asked": f"{loss}.rows"}
    for name, symbol, axes, meaning, gradient, variable in (
        ("transitions", "A", "C C′", "scores of a tag after a tag", "", "return"),
        ("start_transitions", "A_S", "C", "scores of beginning with a tag", "Σ_q de[first[q],c]", "dstart"),
        ("end_transitions", "A_E", "C", "scores of ending with a tag", "Σ_q de[last[q],c]", "dend"),
    ):
        room.parameter(f"crf.{name}", symbol, axes, meaning, gradient and f"d{symbol}[c] = {gradient}",
            f"crf_backward.{variable}")  # fmt: skip
    room.add("crf.emissions", "e", "M C", "logits of the labelled tokens", "e[m,c] = l[asked[m],c]",
        "de[m,c] = (P[m,c] − [c = label[m]])/S", code="gather_rows.return",
        gradient_code="crf_backward.return")  # fmt: skip
    ends = "A_S[label[first[q]]] + A_E[label[last[q]]]"
    score = f"(Σ_m e[m,label[m]]) + (Σ_k A[label[from[k]],label[to[k]]]) + Σ_q ({ends})"
    loss_of(room, loss, f"L = ((Σ_q Z[q]) − ({score}))/S", "crf.loss")
    return Gradient("Σ_m [asked[m] = n]·de[m,c]", "gather_rows_backward.return")


def mean_squared_error(room: Room, loss: str) -> Gradient:
    """As cross_entropy, for regression."""
    room.symbols |= {"target": "targets"}
    loss_of(room, loss, "L = mean_n(mean_c((l[n,c] − target[n,c])^2))", "mean_squared_error.loss")
    room.symbols["size"] = "targets.size"
    return Gradient("2·(l[n,c] − target[n,c])/size", "mean_squared_error_backward.return")


def binary_cross_entropy(room: Room, loss: str) -> Gradient:
    """As cross_entropy, for several labels at once."""
    room.symbols |= {"target": "targets", "size": "targets.size"}
    one = "log(1 + exp(l[n,c])) − l[n,c]·target[n,c]"
    loss_of(room, loss, f"L = mean_n(mean_c({one}))", "binary_cross_entropy.loss")
    return Gradient("(sigmoid(l[n,c]) − target[n,c])/size", "binary_cross_entropy_backward.return")


def spans(room: Room, loss: str) -> Gradient:
    """As cross_entropy, over the places of one text: of the start, column 0, and of the end, column 1."""
    room.symbols |= {"answer": "answer"}
    for column, end in enumerate(("start", "end")):
        at = f"l[n,{column}]"
        log_sum = f"log(Σ_n exp({at} − max_m(l[m,{column}]))) + max_m(l[m,{column}])"
        loss_of(room, f"{loss}.{end}", f"L = {log_sum} − l[answer[{column}],{column}]", "span_cross_entropy.return",
            end, half="/2")  # fmt: skip
    shifted = "exp(l[{},c] − max_j(l[j,c]))"
    return Gradient(f"({shifted.format('n')}/Σ_m {shifted.format('m')} − [n = answer[c]])/2", SPANS_DL)


def spans_of_several(room: Room, loss: str) -> Gradient:
    """Of several texts the loss is a mean of such: no equation of one text is true of it."""
    for end in "start", "end":
        loss_of(room, f"{loss}.{end}", "", "span_cross_entropy.return", end, half="/2")
    return Gradient("", SPANS_DL)


def loss_of(room: Room, name: str, equation: str, code: str, which: str = "", half: str = "") -> None:
    outside = Room(room.entries, "", room.config, room.symbols)
    symbol = f"L_{which}" if which else "L"
    gradient = f"d{symbol} = 1{half}" if half else ""
    outside.add(name, symbol, "", "loss", equation.replace("L =", f"{symbol} =", 1), gradient, code=code)
