"""A small disk of its own, which can be filled and made read-only."""

import os
import subprocess

import pytest


@pytest.fixture
def small_disk(tmp_path):
    """Return a function that makes a disk with some KiB free, and lets it grow."""
    place = tmp_path / "disk"
    place.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], check=False).returncode
    ):
        pytest.skip("a small disk can be mounted by root only")

    def resize(kib, options=""):
        subprocess.run(["mount", "-o", f"remount,size={kib}k{options}", place], check=True)
        return place

    yield resize
    subprocess.run(["umount", "-l", place], check=True)
