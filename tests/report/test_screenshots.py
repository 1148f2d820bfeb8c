"""The script that takes the screenshot of a report for the README."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "docs" / "screenshots.py"


def take(*arguments, **options):
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


@pytest.mark.browser
def test_screenshot_of_a_run_is_a_small_picture(chromium, gallery, tmp_path):
    workspace, ids = gallery
    picture = tmp_path / "images" / "report.png"
    process = take("--workspace", workspace, "--run", ids["accepted"], "--output", picture)
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith(f"{picture} (")
    content = picture.read_bytes()
    assert content.startswith(b"\x89PNG")
    assert [int.from_bytes(content[start : start + 4], "big") for start in (16, 20)] == [1280, 1000]
    assert 20_000 < len(content) <= 200_000


def test_missing_browser_is_an_error_with_a_hint(tmp_path):
    process = take("--workspace", tmp_path, env={"PATH": str(tmp_path)})
    assert process.returncode == 1
    assert process.stderr == (
        "screenshots: no browser found (chromium, chromium-browser, google-chrome); "
        "install one: apt-get install chromium\n"
    )


@pytest.mark.browser
def test_missing_workspace_and_unknown_run_are_errors(chromium, gallery, tmp_path):
    assert "no workspace" in take("--workspace", tmp_path / "none").stderr
    process = take("--workspace", gallery[0], "--run", "nope", "--output", tmp_path / "report.png")
    assert "no run 'nope'" in process.stderr
    assert "Traceback" not in process.stderr
