"""The folder of a run: what it is, what it measured, and checkpoints that survive whatever ends the program.

    run.json          the settings, and the data's fingerprint: a run goes on only with the same
    metrics.jsonl     a line for every logged step and every evaluation
    checkpoints/      step-00000200/ and the like, each complete: model and tokenizer as `from_pretrained` reads them,
                      optimiser.safetensors with the moments, state.json, and manifest.json with every file's sha256
    model.safetensors, config.json, vocab.txt ...   at the end, the model that the run is about

A checkpoint is written into a folder with another name, whose files are synced to disk, and renamed when it is complete
(Pillai et al., OSDI 2014). So at any moment there are complete checkpoints and, perhaps, a leftover that the next start
removes. Nothing in them is executed when they are read: tensors are safetensors, the rest is JSON.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import operator
import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError, LoadError
from ..formats.atomic import sync_folder, write_atomic
from ..formats.jsonfile import read_json
from ..formats.safetensors import open_safetensors, save_safetensors
from ..models.base import BertPreTrainedModel
from ..ops.xp import host, namespace
from .optimisers import Optimiser

FORMAT = 1
LOG = logging.getLogger("minibert")


def check_run(
    folder: str | os.PathLike[str], settings: Mapping[str, Any], resume: bool, all_of_them: bool = False
) -> None:
    """InputError if no run can begin in the folder, or go on with these settings, be they all of them or a part."""
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: expected a folder for the run, got a file")
    there = folder / "run.json"
    if resume and not there.exists():
        raise InputError(f"{folder}: no run to be resumed", "without --resume a new one begins")
    if not resume and there.exists():
        raise InputError(f"{folder}: a run is here already", "--resume goes on with it; or choose a new folder")
    if not resume:
        if any((folder / name).exists() for name in ("config.json", "model.safetensors")):
            raise InputError(f"{folder}: a model is here already", "choose a new folder")
        return
    saved = read_json(there)
    if saved.get("format") != FORMAT or not isinstance(saved.get("settings"), dict):
        raise LoadError(f"{folder}: run.json: expected format {FORMAT}, got {saved.get('format')!r}")
    before, now = saved["settings"], json.loads(json.dumps(settings))
    changed = [
        f"{name} was {_short(before.get(name))} and is {_short(now.get(name))}"
        for name in sorted({*before, *now} if all_of_them else now)
        if before.get(name) != now.get(name)
    ]
    if changed:
        raise InputError(f"{folder}: not the same run: {'; '.join(changed)}", "it goes on only with what it began with")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:18]}…{text[-18:]}"


class Run:
    """A run's folder, held by one program at a time.

    settings    what must be the same when the run goes on: {name: value that JSON has}
    resume      go on with what is there; else the folder must be new or empty of runs
    """

    def __init__(self, folder: str | os.PathLike[str], settings: Mapping[str, Any], resume: bool = False) -> None:
        self.folder = Path(folder)
        self.checkpoints = self.folder / "checkpoints"
        self.settings = json.loads(json.dumps(settings))
        check_run(self.folder, {}, resume)
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        self._lock = _hold(self.folder / ".lock")
        try:
            check_run(self.folder, self.settings, resume, all_of_them=True)  # again, as nobody else changes it now
            for leftover in [*self.checkpoints.glob(".*"), *self.folder.glob(".*.tmp")]:
                shutil.rmtree(leftover, ignore_errors=True) if leftover.is_dir() else leftover.unlink()
            if not resume:
                write_atomic(self.folder / "run.json", _text({"format": FORMAT, "settings": self.settings}))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let others have the folder."""
        os.close(self._lock)

    # ---- metrics ----------------------------------------------------------------------------------------------------

    def log(self, record: Mapping[str, Any]) -> None:
        """Append a line to metrics.jsonl."""
        with open(self.folder / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.write(_line(record))

    def forget_after(self, step: int) -> None:
        """Drop what was logged after a step, and what a crash left of a line: the run goes on from there."""
        path = self.folder / "metrics.jsonl"
        if path.exists():
            kept = [line for line in read_metrics(path, torn=True) if line["step"] <= step]
            write_atomic(path, "".join(map(_line, kept)).encode())

    # ---- checkpoints ------------------------------------------------------------------------------------------------

    def save(
        self,
        model: BertPreTrainedModel,
        optimiser: Optimiser,
        state: Mapping[str, Any],
        others: Callable[[Path], object] | None = None,
        keep: int = 2,
    ) -> Path:
        """Write a checkpoint of state["step"], then remove all but the newest `keep` and the best.

        others(folder) may write more files, such as the tokenizer's. Raises OSError, of a full disk for one; then what
        was there before is there still.
        """
        target = self.checkpoints / f"step-{state['step']:08}"
        temporary = self.checkpoints / f".{target.name}.{secrets.token_hex(4)}"
        try:
            temporary.mkdir()
            model.save_pretrained(temporary)
            moments = {name: host(block.flat) for name, block in optimiser.moments.items()}
            save_safetensors(temporary / "optimiser.safetensors", moments)
            write_atomic(temporary / "state.json", _text({**state, "updates": optimiser.steps}))
            if others is not None:
                others(temporary)
            files = sorted(path for path in temporary.rglob("*") if path.is_file())
            sums = {str(path.relative_to(temporary)): _sha256(path) for path in files}
            write_atomic(temporary / "manifest.json", _text({"format": FORMAT, "sha256": sums}))
            if target.exists():  # damaged, or it would have been gone on from
                os.replace(target, self.checkpoints / f".{target.name}.{secrets.token_hex(4)}")
            os.replace(temporary, target)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        sync_folder(self.checkpoints)
        self._prune(target, keep, state.get("best_step"))
        return target

    def _prune(self, newest: Path, keep: int, best: int | None) -> None:
        # Later ones were passed over: damaged, they must not take the place of one that is whole.
        names = [path for path in sorted(self.checkpoints.glob("step-*")) if path.name <= newest.name]
        for old in names[:-keep]:
            if best is None or old.name != f"step-{best:08}":
                gone = self.checkpoints / f".{old.name}.{secrets.token_hex(4)}"
                os.replace(old, gone)  # at once, so that no half of it is ever taken for a checkpoint
                shutil.rmtree(gone, ignore_errors=True)

    def load_newest(self, model: BertPreTrainedModel, optimiser: Optimiser) -> dict[str, Any]:
        """Read the newest complete checkpoint into model and optimiser -> its state; {} if there are none.

        One that is not complete is passed over, with a note that says why. LoadError if that leaves none: to begin
        again would throw away what the run has measured, and perhaps a checkpoint that can be mended.
        """
        found = sorted(self.checkpoints.glob("step-*"), reverse=True)
        for path in found:
            try:
                state = verified(path)
            except (LoadError, OSError) as error:
                LOG.info("%s is passed over: %s", path, error)
                continue
            load_weights(path, model)
            moments = open_safetensors(path / "optimiser.safetensors")
            for name, block in optimiser.moments.items():
                _copy(moments.read(name), block.flat, f"{path}: {name}")
            optimiser.steps = state["updates"]
            return state
        if found:
            raise LoadError(
                f"{self.checkpoints}: none of {len(found)} checkpoints is complete", "without them the run begins anew"
            )
        return {}

    def path_of(self, step: int) -> Path:
        """The checkpoint of a step."""
        return self.checkpoints / f"step-{step:08}"


def verified(path: Path) -> dict[str, Any]:
    """The state of a checkpoint whose files are all there and unchanged. LoadError if they are not."""
    manifest = read_json(path / "manifest.json")
    if manifest.get("format") != FORMAT or not isinstance(manifest.get("sha256"), dict):
        raise LoadError(f"manifest.json: expected format {FORMAT}, got {manifest.get('format')!r}")
    for name, expected in manifest["sha256"].items():
        file = path / name
        if not file.resolve().is_relative_to(path.resolve()):
            raise LoadError(f"manifest.json names {name}, which is outside")
        if not file.is_file():
            raise LoadError(f"{name} is missing")
        if _sha256(file) != expected:
            raise LoadError(f"{name} is not what was written")
    return read_json(path / "state.json")


def load_weights(path: Path, model: BertPreTrainedModel) -> None:
    """The weights of a checkpoint into a model of the same shapes and dtype, bit for bit."""
    weights = open_safetensors(path / "model.safetensors")
    for name, own in model.parameters.items():
        _copy(weights.read(name), own, f"{path}: {name}")


def read_metrics(path: Path, torn: bool = False) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl. LoadError names one that is none, but for the last if it may be torn."""
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    records: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            record["step"] = operator.index(record["step"])
        except (ValueError, KeyError, TypeError):
            if torn and number == len(lines):
                break
            raise LoadError(f"{path}: line {number} is no record of a step") from None
        records.append(record)
    return records


def _copy(array: Any, target: Any, where: str) -> None:
    if array.shape != target.shape or array.dtype != target.dtype:
        raise LoadError(f"{where}: expected {target.dtype} of shape {target.shape}, got {array.dtype} of {array.shape}")
    target[...] = namespace(target).asarray(array)


def _line(record: Mapping[str, Any]) -> str:
    """JSON has no number that is not finite: it becomes null."""
    plain = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
    return json.dumps(plain, allow_nan=False) + "\n"


def _text(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _hold(path: Path) -> int:
    """An open descriptor that holds the folder until it is closed or the program ends, however it ends."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    with contextlib.suppress(ImportError):
        import fcntl  # POSIX; elsewhere nobody is kept out

        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise InputError(
                f"{path.parent}: another program is training here", "wait for it, or choose another folder"
            ) from None
    return descriptor
