"""Whether a tokenizer and a model belong together, as far as can be seen."""

from __future__ import annotations

from ..errors import InputError
from ..models.config import BertConfig
from ..text.tokenizer import BertTokenizer

__all__ = ["check_vocabulary"]


def check_vocabulary(tokenizer: BertTokenizer, config: BertConfig) -> None:
    """Raises InputError for a tokenizer with more pieces than the model has words.

    Fewer are no fault: vocabularies are padded, and nothing ever names the words at the end.
    """
    if len(tokenizer) > config.vocab_size:
        raise InputError(
            f"tokenizer: expected at most {config.vocab_size} pieces, the model's vocab_size, got {len(tokenizer)}",
            "vocabulary and weights are of different models",
        )
