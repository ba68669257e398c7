"""Every error minibert raises on purpose.

One family, each with an ordinary base, so that `except ValueError` works as people expect and
`except minibert.MinibertError` catches the lot. The message says where, what was expected and what came;
`hint` says what to do about it. `exit_code` is what the command line returns.
"""

from __future__ import annotations

__all__ = ["ConfigError", "InputError", "InputTooLong", "LoadError", "MinibertError", "NotFound"]


class MinibertError(Exception):
    """Base of the family. `str(error)` is the message, followed by the hint on a line of its own."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


class InputError(MinibertError, ValueError):
    """An argument is impossible: ids out of range, ragged rows, labels of the wrong shape."""

    exit_code = 4


class InputTooLong(InputError):
    """More tokens than the model has positions, and truncation was not asked for."""


class ConfigError(MinibertError, ValueError):
    """A configuration value is impossible, or names a variant that is not implemented."""

    exit_code = 4


class LoadError(MinibertError, ValueError):
    """A file is malformed, truncated, lying about its sizes, or does not fit the model."""

    exit_code = 4


class NotFound(MinibertError, FileNotFoundError):
    """A model, a weight file or a vocabulary is not where it was looked for."""

    exit_code = 3
