"""What each contender of `bench.py cpu` does, one measurement a process.

    python tools/bench_sides.py WORK prepare 8x128 encode …     # weights, ONNX graphs and inputs that these rows need
    python tools/bench_sides.py WORK 8x128 "torch sdpa"         # measure; the last line of the output is JSON

A side is a function (row, work) -> call, or (call, result): `call` is what is timed, after warming up; `result` turns
what it returns into the array that must equal minibert's. All sides read the same weights from the work folder and draw
the same inputs. Peers have as many threads as there are cores, PyTorch runs under inference_mode.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from bench_gemms import GEMMS
from bench_models import feeds, inference, session, torch_model
from bench_prepare import prepare
from bench_process import load_since, measure, memory, processor_time
from bench_rows import (
    BUCKET,
    CORES,
    MASK,
    OURS,
    ROWS,
    SENTENCE,
    by_length,
    masked_ids,
    padded,
    random_ids,
    uneven_texts,
)
from bench_training import train_minibert, train_torch

# ---- dense -----------------------------------------------------------------------------------------------------------


def dense_minibert(row, work):
    import minibert as mb

    model, ids = mb.BertModel.from_pretrained(work / row.model), random_ids(row)
    return lambda: model(ids).last_hidden_state


def dense_torch(attention):
    def side(row, work):
        import torch

        model, ids = torch_model("BertModel", work / row.model, attention), torch.from_numpy(random_ids(row))
        return inference(lambda: model(ids).last_hidden_state)

    return side


def dense_onnx(graph):
    def side(row, work):
        run = session(work / f"{row.model}-{graph}.onnx")
        inputs = feeds(run, random_ids(row))
        return lambda: run.run(["hidden"], inputs)[0]

    return side


# ---- sentence vectors ------------------------------------------------------------------------------------------------


def sentences(work):
    return json.loads((work / "sentences.json").read_text(encoding="utf-8"))


def encode_minibert(row, work):
    import minibert as mb

    encoder, texts = mb.SentenceEncoder.from_pretrained(work / "minilm"), sentences(work)
    return lambda: encoder.encode(texts)


def encode_sentence_transformers(row, work):
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(CORES)
    model, texts = SentenceTransformer(str(work / "minilm"), device="cpu"), sentences(work)
    return lambda: model.encode(texts, show_progress_bar=False)


def encode_onnx(row, work):
    """What one would write by hand: the fast tokenizer, batches of similar length, mean over the tokens, length 1."""
    import numpy as np
    from tokenizers import Tokenizer

    run, texts = session(work / "minilm-fused.onnx"), sentences(work)
    tokenizer = Tokenizer.from_file(str(work / "minilm" / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)

    def encode():
        ids = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
        vectors = np.empty((len(texts), 384), dtype=np.float32)
        for batch in by_length(ids, 32):
            tokens, mask = padded([ids[i] for i in batch])
            hidden = run.run(["hidden"], feeds(run, tokens, mask))[0]
            weights = (mask / mask.sum(axis=1, keepdims=True)).astype(np.float32)
            vectors[batch] = (weights[:, None] @ hidden)[:, 0]
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    return encode


def command(*arguments):
    """A whole command, from the prompt to its output; the vector is what it prints as JSON."""

    def side(row, work):
        line = [argument.replace("WORK", str(work)) for argument in arguments]
        offline = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
        call = lambda: subprocess.run(line, env=offline, capture_output=True, text=True, check=True).stdout  # noqa: E731
        return call, lambda output: json.loads(output.splitlines()[-1])["embedding"]

    return side


EMBED_PEER = f"""
import json
from sentence_transformers import SentenceTransformer
model = SentenceTransformer("WORK/minilm", device="cpu")
print(json.dumps({{"embedding": model.encode({SENTENCE!r}).tolist()}}))
"""


# ---- texts of uneven length ------------------------------------------------------------------------------------------


def uneven_minibert(row, work):
    import minibert as mb

    model = mb.BertModel.from_pretrained(work / row.model)
    ids, mask = padded(uneven_texts(row))
    return lambda: model(ids, mask).last_hidden_state, lambda hidden: hidden[mask == 1]


def uneven_peer(runner, size):
    """The texts in batches of a size, sorted by length, each padded to its own longest; the batches are made before."""

    def side(row, work):
        import numpy as np

        texts = uneven_texts(row)
        batches = by_length(texts, size) if size < len(texts) else [list(range(len(texts)))]
        run, prepared = runner(row, work), [padded([texts[i] for i in batch]) for batch in batches]

        def result(outputs):
            found = {}
            for batch, hidden in zip(batches, outputs, strict=True):
                found.update({i: hidden[k, : len(texts[i])] for k, i in enumerate(batch)})
            return np.concatenate([np.asarray(found[i]) for i in range(len(texts))])

        return lambda: [run(ids, mask) for ids, mask in prepared], result

    return side


def torch_runner(row, work):
    import torch

    model = torch_model("BertModel", work / row.model)

    @inference
    def run(ids, mask):  # without a mask where nothing is masked: PyTorch's attention is faster then
        full = mask.all()
        return model(torch.from_numpy(ids), attention_mask=None if full else torch.from_numpy(mask)).last_hidden_state

    return run


def onnx_runner(row, work):
    graph = session(work / f"{row.model}-fused.onnx")
    return lambda ids, mask: graph.run(["hidden"], feeds(graph, ids, mask))[0]


# ---- one masked word -------------------------------------------------------------------------------------------------


def fillmask_minibert(row, work):
    import minibert as mb

    model = mb.BertForMaskedLM.from_pretrained(work / row.model)
    ids, _ = masked_ids(row)
    return lambda: model.logits_at(ids == MASK, ids)


def fillmask_torch(everywhere):
    def side(row, work):
        import torch

        model = torch_model("BertForMaskedLM", work / row.model)
        ids, place = masked_ids(row)
        ids = torch.from_numpy(ids)
        if everywhere:  # what the class does
            return inference(lambda: model(ids).logits), lambda logits: logits[:, place]
        return inference(lambda: model.cls(model.bert(ids).last_hidden_state[:, place]))

    return side


def fillmask_onnx(everywhere):
    def side(row, work):
        import numpy as np

        graph = session(work / f"{row.model}-words-fused.onnx")
        ids, place = masked_ids(row)
        places = np.arange(row.length) if everywhere else np.array([place])
        inputs = feeds(graph, ids, places=places)
        return lambda: graph.run(["logits"], inputs)[0], lambda logits: logits[:, places == place][:, 0]

    return side


SIDES = {
    "dense": {
        OURS: dense_minibert,
        "torch sdpa": dense_torch("sdpa"),
        "torch eager": dense_torch("eager"),
        "onnxruntime plain": dense_onnx("plain"),
        "onnxruntime fused": dense_onnx("fused"),
    },
    "encode": {
        OURS: encode_minibert,
        "sentence-transformers": encode_sentence_transformers,
        "onnxruntime fused": encode_onnx,
    },
    "uneven": {
        OURS: uneven_minibert,
        "torch padded": uneven_peer(torch_runner, 10**9),
        "torch sorted by 8": uneven_peer(torch_runner, BUCKET),
        "torch one by one": uneven_peer(torch_runner, 1),
        "onnxruntime padded": uneven_peer(onnx_runner, 10**9),
        "onnxruntime sorted by 8": uneven_peer(onnx_runner, BUCKET),
        "onnxruntime one by one": uneven_peer(onnx_runner, 1),
    },
    "fillmask": {
        OURS: fillmask_minibert,
        "torch": fillmask_torch(everywhere=True),
        "torch, head at one place": fillmask_torch(everywhere=False),
        "onnxruntime": fillmask_onnx(everywhere=True),
        "onnxruntime, one place": fillmask_onnx(everywhere=False),
    },
    "train": {
        OURS: train_minibert,
        "torch sdpa": train_torch("sdpa", everywhere=True),
        "torch eager": train_torch("eager", everywhere=True),
        "torch sdpa, head on labels": train_torch("sdpa", everywhere=False),
    },
    "embed": {
        OURS: command(sys.executable, "-m", "minibert", "embed", "--model", "WORK/minilm", SENTENCE),
        "sentence-transformers": command(sys.executable, "-c", EMBED_PEER),
    },
}


# ---- one measurement -------------------------------------------------------------------------------------------------


def difference(side, array, work):
    """Of minibert's result nothing, but it is kept; of another's the largest difference from it."""
    import numpy as np

    array, kept = np.asarray(array, dtype=np.float64), work / "result.npy"
    if side == OURS:
        np.save(kept, array)
    elif kept.exists():
        reference = np.load(kept)
        return float(np.abs(array - reference).max()) if array.shape == reference.shape else float("inf")
    return None


def one(name, side, work, repeats, check):
    row = ROWS[name]
    if side in GEMMS:
        before, own = processor_time(), sum(os.times()[:4])
        return {"rates": GEMMS[side](row), **load_since(before, own)}
    made = SIDES[row.kind][side](row, work)
    call, result = made if isinstance(made, tuple) else (made, lambda output: output)
    found, output = measure(call, repeats)
    found |= memory()
    return found | {"difference": difference(side, result(output), work) if check else None}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("what", help="a row, or `prepare`")
    parser.add_argument("names", nargs="*", help="a side; of `prepare`, rows")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--check", action="store_true", help="compare the result with the one minibert left")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    args = parser.parse_args()
    if args.what == "prepare":
        prepare(args.names, args.work, args.data)
    else:
        print(json.dumps(one(args.what, *args.names, args.work, args.repeats, args.check)))


if __name__ == "__main__":
    main()
