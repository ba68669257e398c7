"""The command line as a process."""

import os
import subprocess
import sys


def minibert(*args, stdin="", env=None, text=True):
    """-> (status, stdout, stderr)"""
    data = stdin if not text or isinstance(stdin, bytes) else stdin.encode()
    done = subprocess.run(
        [sys.executable, "-m", "minibert", *map(str, args)],
        input=data,
        capture_output=True,
        env={**os.environ, "MINIBERT_MODEL": "", **(env or {})},
        check=False,
        timeout=120,
    )
    return done.returncode, done.stdout.decode() if text else done.stdout, done.stderr.decode()
