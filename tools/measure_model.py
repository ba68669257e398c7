"""What a pre-trained model knows of text that it has not seen: the tables of the embedded model's card.

    python tools/measure_model.py RUN CORPUS... [--half OUT]

RUN is the folder that `minibert pretrain CORPUS... --out RUN` left; its settings tell which text was held out. Printed
are masked-LM and next-sentence scores on that text, for the model, for what stays of it in float16, and for two
baselines: the pieces' frequencies, and the same architecture untrained; then its answers to ten sentences.

--half OUT writes the model in float16, with its tokenizer, into OUT.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from minibert import BertForMaskedLM, BertForPreTraining, BertTokenizer, pipeline
from minibert.checkpoint import save_pretrained
from minibert.training import Corpus, PretrainingData
from minibert.training.evaluation import evaluate_pretraining, evaluate_unigram

SENTENCES = (
    "The capital of France is [MASK].",
    "She opened the [MASK] and walked into the room.",
    "He drank a cup of [MASK] with his breakfast.",
    "The cat sat by the [MASK] to keep warm.",
    "It was raining, so she took her [MASK].",
    "A dog is an [MASK] that barks.",
    "They lived in a little [MASK] in the woods.",
    "The sun rises in the [MASK].",
    "I am very [MASK] to meet you.",
    "The old man sat down in his [MASK] by the fire.",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("corpus", nargs="+", type=Path)
    parser.add_argument("--half", type=Path, metavar="OUT")
    args = parser.parse_args()
    said = json.loads((args.run / "run.json").read_text(encoding="utf-8"))["settings"]
    kind = BertForMaskedLM if said["no_next_sentence"] else BertForPreTraining
    model = kind.from_pretrained(args.run)
    tokenizer = BertTokenizer.from_pretrained(args.run)
    data = data_of(said, args.run, args.corpus, tokenizer)
    held_out = data.held_out
    halved = kind(model.config)
    halved.load_state_dict({name: half(array) for name, array in model.state_dict().items()})
    print(f"{model}\nheld out: {held_out.per_epoch} batches of {held_out.batch_size}\n")
    print("| | loss | perplexity | masked words right | next sentence right |\n| --- | --- | --- | --- | --- |")
    for name, scores in {
        "the model": evaluate_pretraining(model, held_out),
        "the same in float16, as shipped": evaluate_pretraining(halved, held_out),
        "untrained": evaluate_pretraining(kind(model.config), held_out),
        "frequencies": evaluate_unigram(data, held_out, model.config.vocab_size),
    }.items():
        following = scores.get("next_sentence_accuracy")
        last = "" if following is None else f"{following:.1%}"
        print(f"| {name} | {scores['loss']:.3f} | {scores['perplexity']:.1f} | {scores['accuracy']:.1%} | {last} |")
    print("\n| sentence | answers |\n| --- | --- |")
    fill = pipeline("fill-mask", model=args.run)
    for sentence in SENTENCES:
        answers = ", ".join(f"{guess['token_str']} {guess['score']:.2f}" for guess in fill(sentence))
        print(f"| {sentence} | {answers} |")
    if args.half:
        config = {**model.config.to_dict(), "architectures": [kind.__name__], "dtype": "float16"}
        save_pretrained(args.half, config, {name: half(array) for name, array in model.state_dict().items()})
        tokenizer.save_pretrained(args.half)


def half(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float16)


def data_of(said: dict[str, Any], run: Path, corpus: list[Path], tokenizer: BertTokenizer) -> PretrainingData:
    """The data that the run was trained on, by the settings it has said; of these it held out a part."""
    texts = Corpus.from_files(
        corpus, tokenizer, run / "cache", documents=said["documents"], split_sentences=said["split_sentences"]
    )
    data = PretrainingData(
        texts, tokenizer, batch_size=said["batch_size"], max_seq_length=said["max_length"],
        short_seq_prob=said["short"], next_sentence=not said["no_next_sentence"], masking=said["masking"],
        masked_lm_prob=said["mask"], hold_out=said["hold_out"], seed=said["seed"],
    )  # fmt: skip
    if data.fingerprint != said["data"]:
        raise SystemExit("these files are not the corpus of the run")
    return data


if __name__ == "__main__":
    main()
