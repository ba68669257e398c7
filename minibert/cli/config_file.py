"""--config FILE: options of a verb from a TOML file, as if they stood in front of those on the command line."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def with_config(argv: Sequence[str], verbs: Mapping[str, argparse.ArgumentParser]) -> list[str]:
    """The arguments, with those of the file that --config names behind the verb: later ones count, so a flag wins.

        lr = 5e-4                        --lr 5e-4
        split-sentences = true           --split-sentences; false is as if it were not there
        freeze = ["*bias", "cls.*"]      --freeze *bias --freeze cls.*, unless some are typed
        steps = 1000                     --steps 1000, unless --epochs is typed, which excludes it
        corpus = ["a.txt", "b.txt"]      positional arguments, unless some are typed

    Raises ValueError that says what is wrong. A verb without --config is left to say so itself.
    """
    rest = list(argv)
    typed = rest[: rest.index("--")] if "--" in rest else rest
    at = [i for i, word in enumerate(typed) if word == "--config" or word.startswith("--config=")]
    if not at or rest[0] not in verbs or rest[at[0] :] == ["--config"]:
        return rest
    actions = {word.lstrip("-"): action for action in verbs[rest[0]]._actions for word in _words(action)}
    if "config" not in actions:
        return rest
    if len(at) > 1:
        raise ValueError("--config: expected one file, got several")
    _, equals, name = rest[at[0]].partition("=")
    if not equals:
        name = rest[at[0] + 1]
    del rest[at[0] : at[0] + (1 if equals else 2)]
    parser = verbs[rest[0]]
    apart = [group._group_actions for group in parser._mutually_exclusive_groups]
    return [rest[0], *_arguments(name, actions, _ruled_out(rest[1:], actions, apart)), *rest[1:]]


def _ruled_out(
    typed: Sequence[str], actions: Mapping[str, argparse.Action], apart: Sequence[Sequence[argparse.Action]]
) -> list[argparse.Action]:
    """What the file need not say any more: options that would be added to those that are typed, or exclude them."""
    flags = [word.partition("=")[0] for word in typed if word.startswith("--")]
    options = {option: action for action in actions.values() for option in action.option_strings}
    there = [options.get(f, a) for f in flags for o, a in options.items() if o.startswith(f)]
    there += [a for a in actions.values() if a.choices and not a.option_strings and {*a.choices} & {*typed}]
    return there + [other for group in apart for other in group if any(a in there for a in group)]


def _words(action: argparse.Action) -> Sequence[str]:
    return [action.dest] if not action.option_strings else action.option_strings


def _arguments(name: str, actions: Mapping[str, argparse.Action], ruled_out: Sequence[argparse.Action]) -> list[str]:
    import tomllib

    try:
        options = tomllib.loads(Path(name).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"--config {name}: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"--config {name}: not TOML: {error}") from None
    words: list[str] = []
    for key, value in options.items():
        action = actions.get(key.replace("_", "-"))
        if action is None or action.dest in ("help", "config"):
            raise ValueError(f"--config {name}: {key}: no option of this verb has that name")
        flag, several = action.nargs == 0, action.nargs in ("*", "+") or isinstance(action, argparse._AppendAction)
        kind = "true or false" if flag else "text, a number or a list of these" if several else "text or a number"
        values = value if isinstance(value, list) and several else [value]
        if isinstance(value, bool) is not flag or not all(isinstance(v, (bool, str, int, float)) for v in values):
            raise ValueError(f"--config {name}: {key}: expected {kind}, got {_shown(value)}")
        if action in ruled_out:
            continue
        if not action.option_strings and action.nargs is None:
            words.insert(0, str(value))
        elif not action.option_strings:
            action.default = [str(v) for v in values]
        elif flag:
            words += [action.option_strings[0]] * value
        else:
            words += [f"{action.option_strings[0]}={v}" for v in values]
    return words


def _shown(value: Any) -> str:
    return "a table" if isinstance(value, dict) else str(value).lower() if isinstance(value, bool) else repr(value)
