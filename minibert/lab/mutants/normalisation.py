"""Layer normalisation and the residual branches around it."""

from __future__ import annotations

from .planting import Mutant

LAYER_NORM = "dadded, dgamma, dbeta = layer_norm_backward(dy, cache.norm)"
MEAN = "projection = dxhat.mean(axis=-1, keepdims=True) + xhat * "
ALONG = "(dxhat * xhat).mean(axis=-1, keepdims=True)"

NORMALISATION = (
    Mutant(
        "layer norm: mean term missing", "add_layer_norm_backward",
        before=LAYER_NORM,
        after="n = cache.norm; _, dgamma, dbeta = layer_norm_backward(dy, n); d = dy * n.gamma; "
        "dadded = n.rstd * (d - n.xhat * (d * n.xhat).mean(axis=-1, keepdims=True))",
        call=2, slug="layer-norm-mean", family="layer norm",
        why="The mean is treated as a constant, although every feature moves it.",
        hint="What does a shift of all features alike do to the output, and what must the gradient say about it?",
    ),
    Mutant(
        "layer norm: variance term missing", "add_layer_norm_backward",
        before=LAYER_NORM,
        after="n = cache.norm; _, dgamma, dbeta = layer_norm_backward(dy, n); d = dy * n.gamma; "
        "dadded = n.rstd * (d - d.mean(axis=-1, keepdims=True))",
        call=2, slug="layer-norm-variance", family="layer norm",
        why="The deviation is treated as a constant, as at inference in batch normalisation.",
        hint="Stretch a row: the output stays as it is. Does this gradient know?",
    ),
    Mutant(
        "layer norm: gain gradient without x̂", "add_layer_norm_backward",
        before="dadded, dgamma, dbeta\n",
        after="dadded, dbeta, dbeta\n",
        call=2, slug="layer-norm-gain-xhat", family="layer norm",
        why="The line for the bias is copied for the gain and the factor is forgotten.",
        hint="What stands next to the gain in the forward pass?",
    ),
    Mutant(
        "layer norm of the embeddings: mean term missing", "layer_norm_backward",
        before="projection = dxhat.mean(axis=-1, keepdims=True) +",
        after="projection =",
        call=1, slug="embedding-norm-mean", family="layer norm",
        why="One of two similar terms is lost when the formula is typed in.",
        hint="The embeddings may be shifted in all features alike and nothing changes; sum their gradient.",
    ),
    Mutant(
        "layer norm: gain left out of dx̂", "layer_norm_backward",
        before="dxhat = dy * gamma",
        after="dxhat = dy * 1",
        slug="layer-norm-gain-dx", family="layer norm",
        why="The formula is taken from a derivation without gain and bias; at gains of 1 nobody notices.",
        hint="Does the step from the output back to x̂ cross every factor of the forward pass?",
    ),
    Mutant(
        "layer norm: mean of dx̂·x̂ over tokens", "layer_norm_backward",
        before=ALONG,
        after="(dxhat * xhat).mean(axis=0, keepdims=True)",
        call=1, slug="layer-norm-axis", family="layer norm",
        why="The axis is batch normalisation's.",
        hint="Which numbers share one mean and one deviation?",
    ),
    Mutant(
        "layer norm: variance term over H - 1", "layer_norm_backward",
        before=MEAN + ALONG,
        after=f"along = (dxhat * xhat).sum(axis=-1, keepdims=True) / (xhat.shape[-1] - 1); {MEAN}along",
        call=0, slug="layer-norm-unbiased", family="layer norm",
        why="torch.var divides by H - 1 unless it is told otherwise, and forward divides by H.",
        hint="Compare the numbers of terms that forward and backward divide by.",
    ),
    Mutant(
        "layer norm: r³ beside x̂", "layer_norm_backward",
        before=f"+ xhat * {ALONG}",
        after=f"+ rstd**2 * xhat * {ALONG}",
        call=1, slug="layer-norm-rstd-cubed", family="layer norm",
        why="r³ belongs to the formula in x - μ; in x̂ two of the three factors are used up already.",
        hint="Multiply the input by ten: by how much should each term of dx change?",
    ),
    Mutant(
        "layer norm: multiplied by the deviation", "layer_norm_backward",
        before="dx = rstd * (dxhat - projection)",
        after="dx = (dxhat - projection) / rstd",
        call=1, slug="layer-norm-std", family="layer norm",
        why="Forward keeps 1/σ under a name like std, and backward divides by it.",
        hint="Is the cached number the deviation, or one over it?",
    ),
    Mutant(
        "layer norm: dγ and dβ exchanged", "add_layer_norm_backward",
        before="dadded, dgamma, dbeta\n",
        after="dadded, dbeta, dgamma\n",
        call=3, slug="layer-norm-exchanged", family="layer norm",
        why="Both are vectors of one length, so nothing complains about the order of the results.",
        hint="Two of the results have the same shape.",
    ),
    Mutant(
        "layer norm: dγ summed over features too", "layer_norm_backward",
        before="(dy * xhat).sum(axis=0)",
        after="(dy * xhat).sum()",
        call=1, slug="layer-norm-gain-sum", family="layer norm",
        why="The axis of a sum is forgotten, and broadcasting hides it when the number is added to a vector.",
        hint="Look at the shapes before something is broadcast.",
    ),
    Mutant(
        "layer norm: dγ averaged over tokens", "layer_norm_backward",
        before="(dy * xhat).sum(axis=0)",
        after="(dy * xhat).mean(axis=0)",
        call=1, slug="layer-norm-gain-mean", family="layer norm",
        why="Forward is full of means, so one more is written.",
        hint="One gain serves every token: what becomes of their gradients?",
    ),
    Mutant(
        "layer norm: dγ from dx̂", "layer_norm_backward",
        before="(dy * xhat).sum(axis=0)",
        after="(dxhat * xhat).sum(axis=0)",
        call=0, slug="layer-norm-gain-dxhat", family="layer norm",
        why="The product dx̂·x̂ is at hand, and as long as gains are 1 it is the same number.",
        hint="Give the gain other values than 1.",
    ),
    Mutant(
        "layer norm: dβ from dx̂", "layer_norm_backward",
        before=", dy.sum(axis=0)",
        after=", dxhat.sum(axis=0)",
        call=1, slug="layer-norm-bias-dxhat", family="layer norm",
        why="dy is overwritten by dy·γ early on, and the line for the bias comes after.",
        hint="The bias is added last: what lies between it and the output?",
    ),
    Mutant(
        "layer norm: eps left out, x̂ as a unit vector", "layer_norm_backward",
        before=MEAN + ALONG,
        after="along = (dxhat * xhat).sum(axis=-1, keepdims=True) / (xhat * xhat).sum(axis=-1, keepdims=True); "
        f"{MEAN}along",
        call=1, slug="layer-norm-eps", family="layer norm", needs="eps 1e-5",
        why="Backward is written as a projection off x̂, which is exact for eps = 0 only.",
        hint="Is the mean of x̂² really 1?",
    ),
    Mutant(
        "residual branch dropped", "add_layer_norm_backward",
        before=", dadded, dgamma",
        after=", 0 * dadded, dgamma",
        call=2, slug="residual-dropped", family="residual",
        why="Backward follows the sublayer and forgets that its input also went past it.",
        hint="How many ways lead from the loss to this input?",
    ),
    Mutant(
        "residual branch doubled", "add_layer_norm_backward",
        before=", dadded, dgamma",
        after=", 2 * dadded, dgamma",
        call=2, slug="residual-doubled", family="residual",
        why="Both the operator and its caller add the shortcut's gradient.",
        hint="Count how often the shortcut's gradient is added.",
    ),
    Mutant(
        "residual: the sublayer gets no gradient", "add_layer_norm_backward",
        before="dropout_backward(dadded, cache.drop), dadded",
        after="0 * dropout_backward(dadded, cache.drop), dadded",
        call=3, slug="residual-overwrites", family="residual",
        why="A buffer is assigned where it should be added to, so the later branch wins.",
        hint="Which parameters get no gradient at all?",
    ),
    Mutant(
        "residual: dy past the layer norm", "add_layer_norm_backward",
        before=", dadded, dgamma",
        after=", dy, dgamma",
        call=3, slug="residual-pre-norm", family="residual",
        why="In a pre-norm Transformer the shortcut passes dy on unchanged; BERT normalises after the sum.",
        hint="Where does the sum stand, before or after the normalisation?",
    ),
    Mutant(
        "residual: dropout's mask on the shortcut too", "add_layer_norm_backward",
        before=", dadded, dgamma",
        after=", dropout_backward(dadded, cache.drop), dgamma",
        call=2, slug="residual-masked", family="residual", needs="dropout",
        why="The masked gradient is kept in the variable from which both branches are then served.",
        hint="Which of the two addends went through dropout?",
    ),
    Mutant(
        "residual: dropout forgotten in the sublayer", "add_layer_norm_backward",
        before="dropout_backward(dadded, cache.drop), dadded",
        after="dadded, dadded",
        call=2, slug="residual-unmasked", family="residual", needs="dropout",
        why="The fused operator drops inside, and its backward is written from the formula without dropout.",
        hint="Both branches get the same array: may they?",
    ),
)  # fmt: skip
