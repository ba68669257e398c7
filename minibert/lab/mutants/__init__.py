"""Mutants: planted bugs, each one line of an operator changed. A gradient check that does not find them is no check.

A mutant names the operator, the text in its source and what stands there instead; the operator is compiled again from
the changed text. If the operator's line changes, its mutant no longer applies and `plant` says so.

planting.py        what a mutant is, and how it is planted
settings.py        the models in which it shows
normalisation.py   layer normalisation and the residual branches around it
activations.py     GELU in both forms, relu, silu, tanh, and the feed-forward network
attention.py       self-attention, cross-attention, the dropout inside them
tables.py          linear layers, embeddings, moved rows, dropout
sentences.py       pooled vectors and their cosines
losses.py          cross-entropy and the tied decoder, spans, paths of tags, binary cross-entropy, mean squared error

`call` counts an operator's calls from the loss down: in a model of four layers call 2 of `add_layer_norm_backward`, or
of `feed_forward_backward`, is in the middle. `needs` names the setting in which a mutant shows.

Some mistakes are no bugs, as the gradient stays the same, so they are not here:
- relu with >= instead of >: another answer only where the argument is exactly 0, which no activation is.
- the causal mask forgotten in backward: hidden probabilities are exactly 0, and dscores = p·(...) is 0 with them. It is
  a bug where backward computes the probabilities again; that one is here.
- moved rows assigned, not added: the same as long as no row is asked for twice, and the models ask for each once.
- key.bias given no gradient at all: it has none, because softmax does not see what is added to all scores of a row.
- the lookup's gradient assigned over that of the tied decoder: the same as the decoder's dropped, which is here.
- eps = 1e-12 left out of layer normalisation's backward: r changes by the factor 1 + eps/2σ², less than any tolerance
  for whole models allows. That bug is here with eps = 1e-5, as GPT-2 has it.
"""

from .activations import ACTIVATIONS
from .attention import ATTENTION
from .losses import LOSSES
from .normalisation import NORMALISATION
from .planting import Mutant, plant
from .sentences import SENTENCES
from .settings import SETTINGS, Bench, Setting
from .tables import TABLES

MUTANTS = (*NORMALISATION, *ACTIVATIONS, *ATTENTION, *TABLES, *LOSSES, *SENTENCES)

__all__ = ["MUTANTS", "SETTINGS", "Bench", "Mutant", "Setting", "plant"]
