"""The tensors of BERT's encoder: embeddings and layers. Names are Hugging Face's."""

from __future__ import annotations

from .entries import ACTIVATIONS, Gradient, Room, layer_norm_gradient

TIED = ("cls.predictions.decoder.weight",)


def embeddings(room: Room, dx: Gradient, dropout: bool, given: bool, tied: str) -> None:
    """x = drop(LN(word + segment + position))

    dx: the gradient of x; given: word vectors instead of ids; tied: a second gradient of the word table.
    """
    room.symbols |= {"ids": "input_ids", "pos": "position_ids", "seg": "token_type_ids", "H": "H", "ε": "ε"}
    tables = (
        ("word_embeddings", "w", "E", "ids", "V", "word vectors", "embed.hook_embed"),
        ("token_type_embeddings", "s", "E_S", "seg", "S", "segment vectors", "embed.hook_token_type_embed"),
        ("position_embeddings", "p", "E_P", "pos", "P", "position vectors", "embed.hook_pos_embed"),
    )
    for name, symbol, table, ids, axis, meaning, alias in tables:
        if name == "word_embeddings" and given:
            continue
        room.add(name, symbol, "N H", meaning, f"{symbol}[n,i] = {table}[{ids}[n],i]", f"d{symbol}[n,i] = dz[n,i]",
            code="embedding.return", gradient_code="models.bert:embeddings_backward.dx", aliases=(alias,))  # fmt: skip
        room.parameter(f"{name}.weight", table, f"{axis} H", f"table of {meaning}",
            f"d{table}[v,i] = Σ_n [{ids}[n] = v]·d{symbol}[n,i]" + tied * (symbol == "w"),
            "embedding_backward.dtable", aliases=TIED if tied and symbol == "w" else ())  # fmt: skip
    words = "inputs[n,i]" if given else "w[n,i]"
    room.symbols["inputs"] = "inputs_embeds"
    room.add("sum", "z", "N H", "sum of the three vectors of a token", f"z[n,i] = {words} + s[n,i] + p[n,i]",
        layer_norm_gradient("z", ""), call="LayerNorm", variable="x", dvariable="dx", code="models.bert:embeddings.x",
        gradient_code="layer_norm_backward.dx")  # fmt: skip
    aliases = "hook_full_embed", "blocks.0.hook_resid_pre"
    if not dropout:
        room.layer_norm("LayerNorm", "z", "x", "", dx, aliases)
        return
    room.symbols["κ"] = f"{room.prefix}dropout.mask"
    room.layer_norm("LayerNorm", "z", "x̃", "", Gradient("dx[n,i]·κ[n,i]", "models.bert:embeddings_backward.dx"))
    room.add("dropout", "x", "N H", "what dropout leaves", "x[n,i] = x̃[n,i]·κ[n,i]", f"dx[n,i] = {dx.equation}",
        code="dropout.return", gradient_code=dx.code, aliases=aliases)  # fmt: skip


def layer(room: Room, i: int, dy: Gradient, dropout: bool) -> None:
    """h = LN(attention(x) + x), y = LN(FFN(h) + h). x is a symbol of the room; dy: the gradient of y."""
    config = room.config
    room.symbols |= {"H": "H", "D": "D", "ε": "ε", "π": "π", "F": "F"}
    hooks = f"blocks.{i}."
    self_attention, project = "attention.self", "attention.output"
    attention = ("attention", self_attention)
    p = "p̃" if dropout else "p"
    for letter, part, meaning, backward in (
        ("q", "query", "queries", "(Σ_m ds[h,n,m]·k[h,m,d])/√D"),
        ("k", "key", "keys", "(Σ_m ds[h,m,n]·q[h,m,d])/√D"),
        ("v", "value", "values", f"Σ_m {p}[h,m,n]·do[h,m,d]"),
    ):
        weight, bias = f"W_{letter.upper()}", f"b_{letter.upper()}"
        room.tap(*attention, f"{self_attention}.{part}", letter, letter, "A T D", f"{meaning} of every head",
            f"{letter}[h,n,d] = (Σ_i x[n,i]·{weight}[hD+d,i]) + {bias}[hD+d]", f"d{letter}[h,n,d] = {backward}",
            code="linear.y", aliases=(f"{hooks}attn.hook_{letter}",))  # fmt: skip
        room.linear(f"{self_attention}.{part}", f"the {meaning}", weight[1:], f"d{letter}[o÷D,n,o%D]", "x[n,i]")
    future = " + F[n,m]" if config.is_decoder else ""  # 0, and −∞ for tokens that come later
    room.tap(*attention, f"{self_attention}.scores", "scores", "s", "A T T′", "how well query and key fit",
        f"s[h,n,m] = (Σ_d q[h,n,d]·k[h,m,d])/√D{future}",
        "ds[h,n,m] = p[h,n,m]·(dp[h,n,m] − Σ_l dp[h,n,l]·p[h,n,l])",
        aliases=(f"{hooks}attn.hook_attn_scores",))  # fmt: skip
    shifted, dp = "exp(s[h,n,{}] − max_j(s[h,n,j]))", "Σ_d do[h,n,d]·v[h,m,d]"
    room.tap(*attention, f"{self_attention}.probs", "probs", "p", "A T T′", "how much a token attends to each",
        f"p[h,n,m] = {shifted.format('m')}/Σ_l {shifted.format('l')}",
        f"dp[h,n,m] = {'dp̃[h,n,m]·κ[h,n,m]' if dropout else dp}", aliases=(f"{hooks}attn.hook_pattern",))  # fmt: skip
    if dropout:
        room.symbols["κ"] = f"{room.prefix}{self_attention}.dropout.mask"
        room.tap(*attention, f"{self_attention}.dropout", "dropped", p, "A T T′", "what dropout leaves of probs",
            f"{p}[h,n,m] = p[h,n,m]·κ[h,n,m]", f"d{p}[h,n,m] = {dp}")  # fmt: skip
    room.tap(*attention, f"{self_attention}.context", "o", "o", "A T D", "values, weighted by attention",
        f"o[h,n,d] = Σ_m {p}[h,n,m]·v[h,m,d]", "do[h,n,d] = Σ_j da[n,j]·W_O[j,hD+d]",
        aliases=(f"{hooks}attn.hook_z",))  # fmt: skip
    room.add(f"{project}.dense", "a", "N H", "all heads, mixed", "a[n,j] = (Σ_h Σ_d o[h,n,d]·W_O[j,hD+d]) + b_O[j]",
        _through("da", "dz₁", dropout), code="linear.y", gradient_code="add_layer_norm_backward.return",
        aliases=(f"{hooks}hook_attn_out",))  # fmt: skip
    room.linear(f"{project}.dense", "the attention's output", "_O", "da[n,o]", "o[i÷D,n,i%D]")
    dh = Gradient("dz₂[n,i] + Σ_e du[n,e]·W₁[e,i]", "models.bert:_after_attention_backward.dh")
    _add_norm(room, f"{project}.LayerNorm", "a", "x", "z₁", "h", "₁", dropout, dh, f"{hooks}hook_resid_mid",
        (f"{hooks}ln1.hook_normalized",))  # fmt: skip

    value, derivative = (part.format(u="u[n,e]") for part in ACTIVATIONS[config.activation])
    network = ("feed_forward", "feed_forward")
    room.tap(*network, "intermediate.dense", "u", "u", "N I", "before the activation",
        "u[n,e] = (Σ_i h[n,i]·W₁[e,i]) + b₁[e]", f"du[n,e] = dg[n,e]·{derivative}",
        aliases=(f"{hooks}mlp.hook_pre",))  # fmt: skip
    room.tap(*network, "intermediate.activation", "a", "g", "N I", f"after the activation, {config.activation}",
        f"g[n,e] = {value}", "dg[n,e] = Σ_j df[n,j]·W₂[j,e]", aliases=(f"{hooks}mlp.hook_post",))  # fmt: skip
    room.add("output.dense", "f", "N H", "what the feed-forward network adds", "f[n,j] = (Σ_e g[n,e]·W₂[j,e]) + b₂[j]",
        _through("df", "dz₂", dropout), call="feed_forward", code="feed_forward.y",
        gradient_code="add_layer_norm_backward.return", aliases=(f"{hooks}hook_mlp_out",))  # fmt: skip
    room.linear("intermediate.dense", "the inner layer", "₁", "du[n,o]", "h[n,i]", out="I")
    room.linear("output.dense", "the outer layer", "₂", "df[n,o]", "g[n,i]", inputs="I")
    after = (f"blocks.{i + 1}.hook_resid_pre",) if i + 1 < config.num_hidden_layers else ()
    _add_norm(room, "output.LayerNorm", "f", "h", "z₂", "y", "₂", dropout, dy, f"{hooks}hook_resid_post",
        (f"{hooks}hook_normalized_resid_post", f"{hooks}ln2.hook_normalized", *after))  # fmt: skip


def _add_norm(
    room: Room, name: str, x: str, residual: str, z: str, y: str, s: str, dropout: bool, dy: Gradient, alias: str,
    aliases: tuple[str, ...],
) -> None:  # fmt: skip
    """z = drop(x) + residual, y = LN(z). alias: of z; aliases: of y."""
    added = f"{x}[n,i]"
    if dropout:
        dropped, mask = f"{x}̃", f"κ{s}"
        room.symbols[mask] = f"{room.prefix}{name}.dropout.mask"
        room.add(f"{name}.dropout", dropped, "N H", "what dropout leaves", f"{dropped}[n,i] = {added}·{mask}[n,i]",
            f"d{dropped}[n,i] = d{z}[n,i]", call=name, variable="dropped", dvariable="dadded",
            code="add_layer_norm.dropped", gradient_code="add_layer_norm_backward.dadded")  # fmt: skip
        added = f"{dropped}[n,i]"
    room.add(f"{name}.added", z, "N H", "with the residual added", f"{z}[n,i] = {added} + {residual}[n,i]",
        layer_norm_gradient(z, s), call=name, variable="added", dvariable="dadded", code="add_layer_norm.added",
        gradient_code="layer_norm_backward.dx", aliases=(alias,))  # fmt: skip
    room.layer_norm(name, z, y, s, dy, aliases)


def next_layer(room: Room, body: str, i: int) -> Gradient:
    """Primed symbols for layer i, which reads what the room makes -> the gradient of that."""
    prefix = f"{body}encoder.layer.{i}.attention"
    room.symbols["z₁′"] = f"{prefix}.output.LayerNorm.added"
    for letter, part in (("q", "query"), ("k", "key"), ("v", "value")):
        room.symbols[f"{letter}′"] = f"{prefix}.self.{part}"
        room.symbols[f"W_{letter.upper()}′"] = f"{prefix}.self.{part}.weight"
    into = " + ".join(f"d{letter}′[h,n,d]·W_{letter.upper()}′[hD+d,i]" for letter in "qkv")
    room.symbols |= {"D": "D"}
    return Gradient(f"dz₁′[n,i] + Σ_h Σ_d ({into})", "models.bert:layer_backward.return")


def _through(d: str, dz: str, dropout: bool) -> str:
    """A sum hands its gradient to both addends; dropout lets through what it kept."""
    return f"{d}[n,i] = {dz}[n,i]" + (f"·κ{dz[-1]}[n,i]" if dropout else "")
