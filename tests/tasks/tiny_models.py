"""Tiny models of every task, the same here and in tools/make_pipeline_fixtures.py: weights follow from their names."""

import zlib

import numpy as np

WORDS = """
    [PAD] [UNK] [CLS] [SEP] [MASK] the a cat dog mat sat on ##s ##ed un ##aff ##able . , ! ? ' it i you is was run
    ##ning wolf ##gang lives in ber ##lin new york steve smith who where does live and works for micro ##soft very
    good bad cafe 你 好 of ( ) - 1 ##9 ##4
""".split()  # noqa: SIM905
SIZES = {
    "vocab_size": len(WORDS),
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
}
TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
SCALE = 0.6


def weights(shapes, seed):
    """{name: array} of numbers that float16 holds. NumPy promises that RandomState always draws the same."""
    arrays = {}
    for name, shape in shapes.items():
        drawn = np.random.RandomState([seed, zlib.crc32(name.encode())]).standard_normal(tuple(shape))
        arrays[name] = (SCALE * drawn + name.endswith("LayerNorm.weight")).astype(np.float16).astype(np.float64)
    return arrays


def config(**options):
    """The arguments of a BertConfig; `labels` become id2label."""
    labels = options.pop("labels", None)
    named = {} if labels is None else {"id2label": dict(enumerate(labels))}
    return {**SIZES, **named, **options}


def task(name, cls, seed, dtype="float64", lower_case=True, labels=None, **options):
    """A task around a model of a class, with those weights. labels: the model's; options: the task's."""
    import minibert as mb  # the tool that writes the fixtures runs without it

    tokenizer = mb.BertTokenizer(WORDS, do_lower_case=lower_case, model_max_length=SIZES["max_position_embeddings"])
    known = set(mb.BertConfig.__dataclass_fields__)
    given = {key: options.pop(key) for key in list(options) if key in known}
    model = getattr(mb, cls)(mb.BertConfig(**config(labels=labels, **given)), dtype=dtype)
    model.load_state_dict(weights({key: array.shape for key, array in model.state_dict().items()}, seed))
    return mb.pipeline(name, model=model, tokenizer=tokenizer, **options)
