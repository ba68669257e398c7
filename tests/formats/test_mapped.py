"""Windows on a mapped file: exactly the bytes asked for, or a LoadError."""

from __future__ import annotations

import pytest

from minibert.errors import LoadError
from minibert.formats.mapped import MappedFile


@pytest.mark.parametrize(("offset", "nbytes"), [(-1, 1), (-4, 2), (2, -1), (0, 5), (4, 1), (5, 0), (2**64, 1)])
def test_windows_that_reach_beyond_the_file(tmp_path, offset, nbytes):
    (tmp_path / "file").write_bytes(b"four")
    file = MappedFile(tmp_path / "file")
    assert (bytes(file.window(0, 4)), bytes(file.window(1, 2)), bytes(file.window(4, 0))) == (b"four", b"ou", b"")
    with pytest.raises(LoadError, match=f"bytes {offset} to {offset + nbytes} were asked for, the file has 4"):
        file.window(offset, nbytes)
