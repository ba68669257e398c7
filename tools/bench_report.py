"""What `bench.py cpu` prints of its measurements: a table a row, and one of all rows in the end."""

import sys
import textwrap

from bench_rows import OURS

LOST = 0.05
LIBRARIES = ("torch", "onnxruntime", "sentence-transformers")


def lost(run):
    """Share of the processors' time that was not ours to use."""
    return (run["stolen"] + run["others"]) / run["total"] if run.get("total") else 0.0


def disturbed(run):
    return lost(run) > LOST


def show(name, row):
    sides, train = row["sides"], row["kind"] == "train"
    rated = any("gflops" in one for one in sides.values())
    print(f"\n{name}: {row['title']}")
    heads = f"{'median':>10}{'minimum':>10}{'ratio':>8}{'minima':>8}"
    print(f"  {'':26}{heads}{'GFLOP/s' if rated else '':>8}{'peak MB' if train else '':>8}".rstrip())
    for side, one in sides.items():
        line = f"{'*' if disturbed(one) else ' '} {side:26}"
        line += f"{duration(one['median']):>10}{duration(one['minimum']):>10}"
        ratios = "".join(
            "" if side == OURS or key not in one else f"{one[key]:6.2f} ×" for key in ("ratio", "ratio_of_minima")
        )
        line += f"{ratios:16}" + (f"{one['gflops']:8.0f}" if rated else "")
        print((line + (f"{one['peak']:8.0f}" if train and one["peak"] else "")).rstrip())
    for side, why in row["failed"].items():
        print(textwrap.fill(f"{side:26}{why}", 80, initial_indent="  ", subsequent_indent=" " * 28))
    for note in notes(row):
        print(textwrap.fill(note, 80, initial_indent="  ", subsequent_indent="    "))
    sys.stdout.flush()


def notes(row):
    sides, gemm = row["sides"], row["gemm"]
    ours = sides.get(OURS)
    for side, rate in gemm.items():
        trusted = ours and not disturbed(ours) and not disturbed(rate)
        share = f"; minibert has {ours['gflops'] / rate['median']:.0%}" if trusted and side == "NumPy GEMM" else ""
        star = "* " if disturbed(rate) else ""
        speed = f"{rate['median']:.0f} GFLOP/s, at most {rate['maximum']:.0f}"
        yield f"{star}{side}: {speed} ({rate['shape']}){share}"
    if row["kind"] == "train":
        above = {side: one["peak"] - one["before"] for side, one in sides.items() if one["peak"] and one["before"]}
        if above:
            yield "memory above the imports: " + ", ".join(f"{mb:.0f}" for mb in above.values()) + " MB, in that order"
    lost_to = {key: sum(one[key] for one in sides.values()) for key in ("total", "stolen", "others")}
    differences = [one["difference"] for one in sides.values() if one["difference"] is not None]
    agreed = f"; results equal to {max(differences):.1e}" if differences else "; results not compared"
    if lost_to["total"]:
        share = {key: lost_to[key] / lost_to["total"] for key in ("stolen", "others")}
        yield f"stolen {share['stolen']:.1%}, other processes {share['others']:.1%}; run again: {row['again']}{agreed}"
    else:
        yield f"stolen: not known here{agreed}"


def duration(seconds):
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.1f} ms"


def best_of(row, library):
    """(side, numbers) of the library's fastest way; None if it has none."""
    found = [(side, one) for side, one in row["sides"].items() if side.partition(" ")[0].rstrip(",") == library]
    return min(found, key=lambda pair: pair[1]["median"], default=None)


def show_all(rows):
    print("\npeer / minibert, each peer's best; above 1 minibert is faster; * disturbed")
    print(f"  {'':12}{'minibert':>10}" + "".join(f"{name:>21}" for name in LIBRARIES[:2]) + f"{'sentence-tr.':>14}")
    for name, row in rows.items():
        ours = row["sides"].get(OURS)
        line = f"  {name:12}{duration(ours['median']) if ours else '–':>10}"
        for library, width in zip(LIBRARIES, (21, 21, 14), strict=True):
            found = best_of(row, library)
            way = found[0].removeprefix(library).strip(", ")[:13] if found else ""
            ratio = f"{found[1]['ratio']:.2f} ×" if found and ours else ""
            if ratio and (disturbed(ours) or disturbed(found[1])):
                ratio += "*"
            line += f"{f'{way} {ratio}' if library in LIBRARIES[:2] else ratio:>{width}}"
        print(line.rstrip())
