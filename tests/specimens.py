"""A complete little model on disk: vocabulary, tokenizer settings, config and weights for every head."""

import json

import minibert as mb

WORDS = """
    [PAD] [UNK] [CLS] [SEP] [MASK] the a cat dog mat sat on ##s ##ed un ##aff ##able . , ! ? ' it i you is was run
    ##ning
""".split()  # noqa: SIM905


def tiny_folder(folder, **config):
    """Write a BertForPreTraining with fresh weights and its tokenizer; returns the folder."""
    sizes = {
        "vocab_size": len(WORDS),
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 32,
    }
    mb.BertForPreTraining(mb.BertConfig(**{**sizes, **config}), seed=1).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True, "model_max_length": 32}))
    return folder
