"""What the tests of bundles share."""

import json

import pytest
from helpers import tiny


@pytest.fixture
def config(tmp_path):
    """The file of the tiny configuration."""
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps(tiny()))
    return path
