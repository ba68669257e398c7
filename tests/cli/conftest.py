"""One little model for every test of the command line."""

import pytest

from tests.specimens import tiny_folder


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tiny_folder(tmp_path_factory.mktemp("model"))
