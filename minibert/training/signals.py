"""Ctrl-C and its like, answered when nothing can be lost."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

LOG = logging.getLogger("minibert")


NUMBERS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextmanager
def asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Ctrl-C, SIGTERM and the end of the terminal ask for the end of the run after the step; a second Ctrl-C is not
    waited for. A signal that the program was started to ignore, as by nohup, is still ignored.    -> asked yet?"""
    asked = False

    def ask(number: int, frame: Any) -> None:
        nonlocal asked
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not asked:
            asked = True
            with suppress(RuntimeError):  # it came while another line was being written
                LOG.info("stopping after this step; Ctrl-C once more stops at once")

    if threading.current_thread() is not threading.main_thread():  # where signals cannot be had
        yield lambda: False
        return
    heard = [number for number in NUMBERS if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, ask) for number in heard}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
