"""The use case TUNED, whose only training step can be searched."""

from pathlib import Path

import pytest

PLUGIN = Path(__file__).parent / "tuned_toy"


@pytest.fixture
def tuned(monkeypatch):
    """The use case TUNED is installed, here and in the processes that are started."""
    monkeypatch.syspath_prepend(str(PLUGIN))
    monkeypatch.setenv("PYTHONPATH", str(PLUGIN))
    return "TUNED"
