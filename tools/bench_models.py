"""How the peers of `bench.py cpu` load the weights, and call their models."""

from bench_process import built
from bench_rows import CORES


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
