"""--config FILE: options of a verb from a TOML file, as if they stood in front of those on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def with_config(argv: Sequence[str]) -> list[str]:
    """The arguments, with those of the file that --config names behind the verb: later ones count, so a flag wins.

        lr = 5e-4                        --lr 5e-4
        split-sentences = true           --split-sentences; false is as if it were not there
        corpus = ["a.txt", "b.txt"]      positional arguments, under the name of the first of the verb's

    Raises ValueError that says what is wrong.
    """
    rest = list(argv)
    for i, word in enumerate(rest):
        if word == "--":
            break
        if word == "--config" and i + 1 < len(rest):
            name, cut = rest[i + 1], 2
        elif word.startswith("--config="):
            name, cut = word.removeprefix("--config="), 1
        else:
            continue
        del rest[i : i + cut]
        return [*rest[:1], *_arguments(name), *rest[1:]]
    return rest


def _arguments(name: str) -> list[str]:
    import tomllib

    try:
        options = tomllib.loads(Path(name).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"--config {name}: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"--config {name}: not TOML: {error}") from None
    words: list[str] = []
    positional: list[str] = []
    for key, value in options.items():
        if isinstance(value, dict):
            raise ValueError(f"--config {name}: {key}: expected text, a number, true, false or a list, got a table")
        if key == "corpus":
            positional += map(str, value if isinstance(value, list) else [value])
        elif value is True:
            words.append(_flag(key))
        elif isinstance(value, list):
            words += [word for item in value for word in (_flag(key), str(item))]
        elif value is not False:
            words.append(f"{_flag(key)}={value}")
    return [*positional, *words]


def _flag(key: str) -> str:
    return f"--{key.replace('_', '-')}"
