"""What a model returns: by attribute, by name, or by place."""

from __future__ import annotations

from typing import Any


class ModelOutput(dict[str, Any]):
    """Results in order, those that were not asked for left out.

    out.last_hidden_state, out["last_hidden_state"] and out[0] are the same array. A result that this model could have
    given but did not (loss without labels) reads as None by attribute and is absent otherwise.
    """

    _declared: tuple[str, ...]

    def __init__(self, **results: Any) -> None:
        super().__init__((k, v) for k, v in results.items() if v is not None)
        object.__setattr__(self, "_declared", tuple(results))

    def __getattr__(self, name: str) -> Any:
        if name in self.__dict__.get("_declared", ()):  # while it is being copied, it has none yet
            return self.get(name)
        raise AttributeError(f"no result {name!r}; there is {', '.join(self)}")

    def __getitem__(self, key: Any) -> Any:
        return self.to_tuple()[key] if isinstance(key, int | slice) else super().__getitem__(key)

    def to_tuple(self) -> tuple[Any, ...]:
        return tuple(self.values())
