"""A vocabulary and weights of different models are not put together."""

import pytest

import minibert as mb
from tests.specimens import WORDS, tiny_folder


def test_c08_more_pieces_than_words(tmp_path):
    folder = tiny_folder(tmp_path)
    with (folder / "vocab.txt").open("a") as file:
        file.write("another\n")
    message = f"expected at most {len(WORDS)} pieces, the model's vocab_size, got {len(WORDS) + 1}"
    with pytest.raises(mb.InputError, match=message):
        mb.SentenceEncoder.from_pretrained(folder)
    model, tokenizer = mb.BertForMaskedLM.from_pretrained(folder), mb.BertTokenizer.from_pretrained(folder)
    with pytest.raises(mb.InputError, match=message):
        mb.fill_mask(model, tokenizer, "the [MASK]")


def test_c08_fewer_pieces_than_words_are_a_padded_vocabulary(tmp_path):
    folder = tiny_folder(tmp_path, vocab_size=len(WORDS) + 2)
    assert mb.SentenceEncoder.from_pretrained(folder).encode("the cat").shape == (16,)
