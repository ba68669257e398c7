"""One measurement of `bench.py cpu` in this process: times, memory, and what else the processors did meanwhile."""

import os
import time
from pathlib import Path

ENOUGH = 6.0  # seconds of repeats in a process, after which there are no more

HINDRANCES = (
    *(f"{library}_NUM_THREADS" for library in ("OMP", "OPENBLAS", "MKL", "NUMBA", "VECLIB_MAXIMUM", "BLIS")),
    *("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "MKL_ENABLE_INSTRUCTIONS", "MKL_CBWR", "ONEDNN_MAX_CPU_ISA"),
)

_peak_before = None


def unhindered():
    """The environment without what keeps a library from using the processor as it would by itself: OpenBLAS held to
    AVX2 is half as fast where there is AVX-512, and PyTorch is not."""
    return {name: value for name, value in os.environ.items() if name not in HINDRANCES}


def built():
    """Called when everything is imported and the model is about to be built: notes the memory."""
    global _peak_before
    _peak_before = _peak_before or peak_memory()


def peak_memory():
    """MB of the process, at most so far; of this program alone, where getrusage counts the parent's fork, too."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6


def memory():
    """Of this process: the peak, and what it was before the model."""
    return {"peak": peak_memory(), "before": _peak_before}


def processor_time():
    """Seconds since the start of the machine: all, idle, stolen by the hypervisor. None where nobody counts them."""
    try:
        counts = [int(n) for n in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    except OSError:
        return None
    tick = os.sysconf("SC_CLK_TCK")
    return [n / tick for n in (sum(counts), counts[3] + counts[4], counts[7])]


def load_since(before, own):
    """Seconds of all processors since then, and of these what was stolen and what other processes had."""
    if before is None:
        return {"total": 0.0, "stolen": 0.0, "others": 0.0}
    total, idle, stolen = (b - a for a, b in zip(before, processor_time(), strict=True))
    own = sum(os.times()[:4]) - own
    return {"total": total, "stolen": stolen, "others": max(0.0, total - idle - stolen - own)}


def measure(call, repeats):
    """-> {seconds of every call, and the load meanwhile}, and the last output"""
    output = call()  # warm up: threads, caches, first allocations
    end = time.perf_counter() + 0.3
    while time.perf_counter() < end:
        output = call()
    seconds, before, own = [], processor_time(), sum(os.times()[:4])
    for _ in range(repeats):
        del output  # as in a loop that uses and forgets its results
        start = time.perf_counter()
        output = call()
        seconds.append(time.perf_counter() - start)
        if sum(seconds) > ENOUGH:
            break
    return {"seconds": seconds, **load_since(before, own)}, output
