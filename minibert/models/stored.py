"""A model as named arrays: fresh, from a file, to a file, by name."""

from __future__ import annotations

import copy
import dataclasses
import functools
import math
import operator
import os
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from .. import checkpoint, engines
from ..errors import InputError, LoadError
from ..ops.xp import Array, host, namespace
from .bert import bert_spec
from .config import BertConfig
from .parameters import Block, Param, Windows, initialise


class StoredModel:
    """Configuration, engine and parameters of a BERT with a head; what it computes is the subclasses' affair.

    Parameters
    ----------
    config    a BertConfig
    seed      of the fresh weights: normal with standard deviation initializer_range, truncated at two of them; biases
              0, gains 1
    dtype     "float32" or "float64"; everything is computed in it
    engine    who computes the operators: "auto", "reference", "cpu" or "gpu"; see minibert.engines. With "gpu"
              parameters and gradients lie on the card; results are NumPy's arrays
    """

    body: ClassVar[str] = "bert"  # the encoder's place among the names
    pooled: ClassVar[bool] = True  # is there a pooler?

    def __init__(
        self, config: BertConfig | None = None, *, seed: int = 0, dtype: Any = "float32", engine: str = "auto"
    ) -> None:
        config = BertConfig() if config is None else config
        if not isinstance(config, BertConfig):
            raise InputError(f"config: expected a BertConfig, got {type(config).__name__}")
        config = dataclasses.replace(config)  # checked once more: its fields may have been assigned since
        rng, dtype = _generator(seed), _float_dtype(dtype)
        block = Block(self.spec(config), dtype)
        initialise(block, config.initializer_range, rng)
        self._assemble(config, engine, block)

    def _assemble(self, config: BertConfig, engine: str, readable: Block | Windows) -> Self:
        """Put the parts together, around parameters that are there already."""
        engines.check(engine)
        if engine == "gpu":  # of a mapped file nothing can be read there
            readable = (readable if isinstance(readable, Block) else Block.of(readable.spec, readable)).onto(engine)
        self.config = config
        self.engine = engine
        self.readable = readable
        self.load_report: checkpoint.LoadReport | None = None
        self.name_or_path: str | os.PathLike[str] | None = None  # where it was loaded from
        return self

    @functools.cached_property
    def ops(self) -> Any:
        """The engine's operators. Found at first use: a model that is only converted need not import a compiler."""
        return engines.get(self.engine)

    @property
    def parameters(self) -> Block:
        """The parameters, to be written as well as read.

        A model that was read from a file is copied out of it when this is first asked for. `readable` are the same
        numbers wherever they lie: all that a forward pass needs, so that none waits for such a copy.
        """
        if not isinstance(self.readable, Block):
            self.readable = Block.of(self.readable.spec, self.readable)
        return self.readable

    def __getstate__(self) -> dict[str, Any]:
        state = {**self.__dict__, "readable": self.parameters}
        state.pop("ops", None)  # an engine may be a module, which neither copies nor pickles; nor does a mapped file
        return state

    @classmethod
    def head_spec(cls, config: BertConfig) -> list[Param]:
        """The tensors of the head."""
        return []

    @classmethod
    def fresh_names(cls, config: BertConfig) -> set[str]:
        """Tensors that a checkpoint of another class has not, and that start fresh without being asked for."""
        return set()

    @classmethod
    def spec(cls, config: BertConfig) -> list[Param]:
        """Every tensor of the model, named and ordered as in Hugging Face's class; a tied decoder is not repeated."""
        return bert_spec(config, cls.body, cls.pooled) + cls.head_spec(config)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the parameters, and of everything that is computed."""
        dtype: np.dtype[Any] = self.readable[self.readable.spec[0].name].dtype
        return dtype

    def astype(self, dtype: Any) -> Self:
        """A copy of the model in another dtype, with whatever else was set on it, such as options of its loss."""
        parameters = self.parameters.astype(_float_dtype(dtype))
        twin = copy.copy(self)
        twin.readable = parameters
        return twin

    def eval(self) -> Self:
        """The model itself: nothing is ever dropped unless a call asks for it. Here for those who expect it."""
        return self

    def num_parameters(self) -> int:
        """Numbers to be learned; tied tensors count once."""
        return sum(math.prod(p.shape) for p in self.readable.spec)

    def state_dict(self) -> dict[str, Array]:
        """{name: array}; the arrays are views of the model's own parameters, so writing into them changes the model."""
        return dict(self.parameters)

    def load_state_dict(self, arrays: Mapping[str, Any]) -> None:
        """Copy arrays in. LoadError lists every missing, unexpected and misshapen name; then nothing was changed."""
        missing = [p.name for p in self.parameters.spec if p.name not in arrays]
        known = set(self.parameters)
        unexpected = [name for name in arrays if name not in known]
        misshapen = [
            f"{p.name} {problem}"
            for p in self.parameters.spec
            if p.name in arrays and (problem := _misfit(arrays[p.name], p.shape))
        ]
        problems = [
            f"{what}: {', '.join(names)}"
            for what, names in (("missing", missing), ("unexpected", unexpected), ("misshapen", misshapen))
            if names
        ]
        if problems:
            raise LoadError("state_dict does not fit the model; " + "; ".join(problems))
        for name, own in self.parameters.items():
            own[...] = namespace(own).asarray(host(arrays[name]))

    @classmethod
    def from_pretrained(
        cls,
        path: str | os.PathLike[str],
        *,
        revision: str | None = None,
        dtype: Any = "float32",
        engine: str = "auto",
        strict: bool = True,
        new_head: bool = False,
        seed: int = 0,
        **overrides: Any,
    ) -> Self:
        """A published checkpoint of any format that `formats` reads.

        path is a folder, a weight file, a TensorFlow prefix, pkg:NAME/sub/dir, or a name on the hub, of which revision
        is a branch, tag or commit.

        overrides are config values (num_labels=3, hidden_dropout_prob=0.2). Everything that is missing, unexpected or
        misshapen is reported at once, as a LoadError before anything is allocated. With strict=False missing tensors
        get fresh weights (from `seed`) and unexpected ones are left out; both are said in a warning. Giving num_labels
        or id2label asks for a new classifier in the same way, if the checkpoint has none. With new_head the head starts
        fresh whether the checkpoint has one or not, of whatever shape, and so does a pooler if it has none.
        The report stays on the model as `load_report`.

        Tensors that lie in the file as they are needed, as in safetensors of the same dtype, are used there, mapped: no
        first sentence waits for 440 MB to be copied. Replacing the file is safe, writing into it is not; a model that
        is trained or written to has its own copy.
        """
        engines.check(engine)
        dtype, rng = _float_dtype(dtype), _generator(seed)
        source = checkpoint.open_pretrained(path, revision, overrides)
        config = BertConfig.from_dict(source.config, **overrides)
        head = {p.name for p in cls.head_spec(config)}
        asked = new_head or {"num_labels", "id2label"} & set(overrides)
        optional = [head if asked else set(), cls.fresh_names(config)]
        if new_head:
            source.leave_out(head, "the head is a new one")
            optional.append(head | {p.name for p in cls.spec(config) if ".pooler." in p.name})
        plan = checkpoint.plan(source, cls.spec(config), config.tie_word_embeddings, strict, optional)
        if plan.lies_ready(dtype):
            readable: Block | Windows = Windows(cls.spec(config), plan.windows())
        else:
            readable = Block(cls.spec(config), dtype)
            plan.read_into(readable)
        if plan.report.missing:
            readable = readable if isinstance(readable, Block) else Block.of(readable.spec, readable)
            initialise(readable, config.initializer_range, rng, only=set(plan.report.missing))
        model = cls.__new__(cls)._assemble(config, engine, readable)
        model.load_report, model.name_or_path = plan.report, path
        return model

    def save_pretrained(self, directory: str | os.PathLike[str]) -> None:
        """Write config.json and model.safetensors so that `transformers` and `from_pretrained` load them back."""
        config = {**self.config.to_dict(), "architectures": [type(self).__name__], "dtype": str(self.dtype)}
        checkpoint.save_pretrained(directory, config, {name: host(array) for name, array in self.readable.items()})

    def __repr__(self) -> str:
        c = self.config
        return (
            f"{type(self).__name__}({c.num_hidden_layers} layers, hidden {c.hidden_size}, "
            f"{c.num_attention_heads} heads, vocabulary {c.vocab_size}; {self.num_parameters():,} parameters, "
            f"{self.dtype})"
        )


def _generator(seed: Any) -> np.random.Generator:
    try:
        return np.random.default_rng(operator.index(seed))
    except (TypeError, ValueError):
        raise InputError(f"seed: expected an integer of at least 0, got {seed!r}") from None


def _misfit(values: Any, shape: tuple[int, ...]) -> str:
    """What keeps values from being copied into an array of that shape; empty if nothing."""
    try:
        array = np.asarray(host(values))
    except ValueError:
        return f"has rows of different lengths, expected shape {shape}"
    fits = array.shape == shape and array.dtype.kind in "iuf"
    return "" if fits else f"has shape {array.shape} of {array.dtype}, expected {shape} of numbers"


def _float_dtype(dtype: Any) -> np.dtype[Any]:
    try:
        result = np.dtype("V" if dtype is None else dtype)  # NumPy takes None for float64
    except (TypeError, ValueError):
        raise InputError(f"dtype: expected float32 or float64, got {dtype!r}") from None
    if result not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise InputError(f"dtype: expected float32 or float64, got {dtype!r}", "half precision files load into float32")
    return result
