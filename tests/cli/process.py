"""The command line as a process."""

import os
import subprocess
import sys

COMPILING = "minibert: compiling for this processor, once; some seconds\n"


def minibert(*args, stdin="", env=None, text=True, compiling=False):
    """-> (status, stdout, stderr); without the notice that kernels are compiled, which only the first runs give."""
    data = stdin if not text or isinstance(stdin, bytes) else stdin.encode()
    done = subprocess.run(
        [sys.executable, "-m", "minibert", *map(str, args)],
        input=data,
        capture_output=True,
        env={**os.environ, "MINIBERT_MODEL": "", **(env or {})},
        check=False,
        timeout=120,
    )
    said = done.stderr.decode()
    return done.returncode, done.stdout.decode() if text else done.stdout, said if compiling else quiet(said)


def quiet(stderr):
    return stderr.replace(COMPILING, "")
