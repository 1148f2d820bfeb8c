"""Write docs/images/report.png, the screenshot of a run report in the README, with a headless Chromium.

Without options it runs AED in a temporary workspace. With ``--workspace .mlops`` it shows the latest run of a
workspace, and with ``--run`` any other one, without running anything.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import mlops_core
from mlops_core.errors import MlopsError
from mlops_core.report import write_report
from mlops_core.workspace.store import Store

IMAGE = Path(__file__).parent / "images" / "report.png"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDTH, HEIGHT = 1280, 1000
LIMIT_KB = 200
TIMEOUT_S = 120
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
)


def main() -> None:
    """Take the screenshot and print its path and size; exit with a message when that is not possible."""
    parser = argparse.ArgumentParser(description="Write the screenshot of a run report for the README.")
    parser.add_argument("--usecase", default="AED", help="Use case to run (default: AED).")
    parser.add_argument("--workspace", type=Path, help="Workspace with a finished run, instead of a new run.")
    parser.add_argument("--run", default="latest", help="Run to show from --workspace (default: the latest).")
    parser.add_argument(
        "--output", type=Path, default=IMAGE, help="PNG file to write (default: docs/images/report.png)."
    )
    arguments = parser.parse_args()
    browser = find_browser()
    with tempfile.TemporaryDirectory() as folder:
        workspace, run_id = arguments.workspace, arguments.run
        try:
            if workspace is None:
                workspace = Path(folder) / "workspace"
                run_id = mlops_core.run(arguments.usecase, workspace=workspace).run_id
            elif not workspace.is_dir():
                sys.exit(f"screenshots: no workspace {workspace}; pass an existing one with --workspace")
            with Store(workspace) as store:
                page = write_report(store, run_id)
        except MlopsError as error:
            sys.exit(f"screenshots: {error}")
        take_screenshot(page, arguments.output, browser=browser, profile=Path(folder) / "profile")
    size_kb = arguments.output.stat().st_size / 1000
    if size_kb > LIMIT_KB:
        sys.exit(f"screenshots: {arguments.output} has {size_kb:.0f} kB; expected at most {LIMIT_KB} kB")
    print(f"{arguments.output} ({size_kb:.0f} kB)")  # noqa: T201  the result of a script


def find_browser() -> str:
    """Return the path of the installed Chromium or Chrome; exit with a message when there is none."""
    for name in BROWSERS:
        path = shutil.which(name)
        if path:
            return path
    sys.exit(f"screenshots: no browser found ({', '.join(BROWSERS)}); install one: apt-get install chromium")


def take_screenshot(page: Path, output: Path, *, browser: str, profile: Path) -> None:
    """Write the top of a page as a PNG file.

    Args:
        page: an HTML file.
        output: the PNG file; its folder is created.
        browser: path of Chromium.
        profile: folder for the browser's own files.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    output.unlink(missing_ok=True)
    size = f"--window-size={WIDTH},{HEIGHT}"
    command = [browser, *FLAGS, size, f"--user-data-dir={profile}", f"--screenshot={output.resolve()}", page.as_uri()]
    try:
        process = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)  # noqa: S603
    except subprocess.TimeoutExpired:
        sys.exit(f"screenshots: {browser} did not finish within {TIMEOUT_S} s; try again on a less busy machine")
    if process.returncode or not output.is_file():
        sys.exit(f"screenshots: {browser} failed (exit code {process.returncode}): {process.stderr.strip()}")


if __name__ == "__main__":
    main()
