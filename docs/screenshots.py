"""Write docs/images/report.png, the screenshot of a run report in the README, with a headless Chromium.

Without options it runs AED in a temporary workspace. With ``--workspace .mlops`` it shows the latest run of a
workspace, and with ``--run`` any other one, without running anything. With ``--ui`` it writes the pictures of
docs/ui.md instead: pages of `mlops ui`, taken with playwright.
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
UI_PAGES = {
    "ui-runs.png": ("/?key=training.learning_rate&order=metric%2C+lowest", 960),
    "ui-use-case.png": ("/use-cases/{use_case}", 460),
}
"""Picture -> page and height; the parts in braces are options of the script."""
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
    parser.add_argument("--ui", action="store_true", help="Write the pictures of docs/ui.md, from --workspace.")
    arguments = parser.parse_args()
    browser = find_browser()
    if arguments.ui:
        if arguments.workspace is None:
            sys.exit("screenshots: --ui shows an existing workspace; name it with --workspace")
        write_ui_screenshots(arguments.workspace, arguments.usecase, browser=browser)
        return
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


def write_ui_screenshots(workspace: Path, use_case: str, *, browser: str) -> None:
    """Write a picture of each page in `UI_PAGES`; exit with a message when that is not possible."""
    from playwright.sync_api import sync_playwright

    command = [sys.executable, "-c", "from mlops_core.cli import main; main()", "--workspace", str(workspace), "ui"]
    process = subprocess.Popen(  # noqa: S603  our own command
        [*command, "--port", "0", "--no-token"], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None  # noqa: S101  for mypy
    try:
        address = process.stderr.readline().split()[-1].rstrip("/")
        with sync_playwright() as playwright:
            opened = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
            page = opened.new_page()
            for name, (path, height) in UI_PAGES.items():
                page.set_viewport_size({"width": WIDTH, "height": height})
                page.goto(address + path.format(use_case=use_case))
                page.wait_for_timeout(1000)
                while page.locator("[aria-busy=true]").count():
                    page.locator("[aria-busy=true]").first.wait_for(state="detached", timeout=TIMEOUT_S * 1000)
                page.screenshot(path=IMAGE.parent / name)
                print(IMAGE.parent / name)  # noqa: T201  the result of a script
            opened.close()
    finally:
        process.terminate()
        process.wait(TIMEOUT_S)
        process.stderr.close()


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
