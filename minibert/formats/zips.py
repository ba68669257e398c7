"""What a zip archive is, is told by its members: a PyTorch file, an .npz, or something else, called by its name."""

from __future__ import annotations

from pathlib import Path

from ..errors import LoadError
from .archive import Archive
from .files import quote
from .npz import open_npz
from .torch.zipped import open_zipped
from .weights import Weights

__all__ = ["open_zip"]


def open_zip(path: Path) -> Weights:
    """Opens the zip archive `path` as what its members say it is: a PyTorch file or an .npz.

    Raises NotFound, or LoadError if the archive is malformed or holds something else; the message says what.
    """
    archive = Archive(path)
    if any(name.count("/") == 1 and name.endswith("/data.pkl") for name in archive.members):
        return open_zipped(archive)
    if all(name.endswith(".npy") for name in archive.members):
        return open_npz(path, archive)
    what, hint = _guess(archive)
    raise LoadError(f"{path}: expected a PyTorch file or an .npz, got {what}", hint)


def _guess(archive: Archive) -> tuple[str, str]:
    """What an archive that is not read seems to be, and what to do."""
    elsewhere = "fetch the same model's safetensors, PyTorch or TensorFlow weights"
    names = {name.rsplit("/", 1)[-1] for name in archive.members}
    if "saved_model.pb" in names:
        return "a zipped TensorFlow SavedModel", "unpack it and give its folder, which has variables/variables.index"
    if "model.weights.h5" in names:
        return "a Keras 3 model (.keras)", elsewhere
    if "[Content_Types].xml" in names:
        return "an office document", "is it a weight file at all?"
    listed = ", ".join(map(quote, list(archive.members)[:4]))
    return f"a zip archive of {len(archive.members)} other files: {listed}", "unpack it, if weights are among them"
