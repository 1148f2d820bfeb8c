"""The real data sets of the tests with the marker ``real_data``."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

DATA = Path(os.environ.get("MLOPS_TEST_DATA", Path(__file__).parents[4] / "shared" / "data"))


@pytest.fixture(scope="session")
def esc10(tmp_path_factory):
    """ESC-10 in the layout of ESC-50: as downloaded, or decoded from compressed clips by the script beside them."""
    if (DATA / "ESC-50" / "meta" / "esc50.csv").is_file():
        return DATA / "ESC-50"
    script = DATA / "esc10" / "esc50_layout.py"
    if not script.is_file():
        pytest.skip(f"neither ESC-50 nor esc10/esc50_layout.py in {DATA}; set MLOPS_TEST_DATA")
    folder = tmp_path_factory.mktemp("esc10")
    subprocess.run([sys.executable, str(script), str(folder)], check=True)
    return folder


@pytest.fixture(scope="session")
def yamnet_256():
    """The weights of YAMNet-256 as the model zoo publishes them."""
    path = DATA / "yamnet_256" / "yamnet_256_f32.h5"
    if not path.is_file():
        pytest.skip(f"no yamnet_256/{path.name} in {DATA}; set MLOPS_TEST_DATA")
    return path
