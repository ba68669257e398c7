"""Ctrl-C and SIGTERM, answered when nothing can be lost."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

LOG = logging.getLogger("minibert")


@contextmanager
def asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Ctrl-C and SIGTERM ask for the end of the run after the step; a second one is not waited for.    -> asked yet?"""
    asked = False

    def ask(number: int, frame: Any) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        LOG.info("stopping after this step; once more to stop at once")

    if threading.current_thread() is not threading.main_thread():  # where signals cannot be had
        yield lambda: False
        return
    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
