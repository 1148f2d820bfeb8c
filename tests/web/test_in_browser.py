"""Every page and every action of `mlops ui` in a real browser: keyboard, phone, both colour schemes, no violation.

With MLOPS_TEST_AXE, the path of axe.min.js of the npm package axe-core, each page is also checked for accessibility:
``npm pack axe-core``.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import mlops_core
from mlops_core.workspace.registry import Registry
from mlops_core.workspace.store import Store
from tests.web.conftest import DEADLINE_S, MLOPS, Ui, wait_for

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
GALLERY = Path(__file__).parents[1] / "report" / "gallery"
WAITING = Path(__file__).parent / "waiting"
TUNED = Path(__file__).parents[1] / "tuning" / "tuned_toy"
TIMEOUT_MS = 120_000
AXE_OPTIONS = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """A workspace with two runs of GALLERY and a search of TUNED, and the server that shows it."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed; apt-get install chromium")
    pytest.importorskip("playwright.sync_api")
    workspace = tmp_path_factory.mktemp("ui") / "workspace"
    paths = os.pathsep.join(map(str, (GALLERY, TUNED)))
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("USECASE_", "MLOPS_HOME"))]:
            patch.delenv(name)
        patch.setenv("PYTHONPATH", paths)
        for path in (GALLERY, TUNED):
            patch.syspath_prepend(str(path))
        runs = [
            mlops_core.run("GALLERY", workspace=workspace, overrides=[f"training.skill={skill}"]).run_id
            for skill in (0.8, 0.9)
        ]
        record = mlops_core.run("TUNED", workspace=workspace, overrides=["tuning.trials=9"])
        assert record.status == "accepted"
        ui = Ui(workspace, token=True)
    yield workspace, ui, (*runs, record.run_id)
    assert ui.stop() == 0


@pytest.fixture(scope="module")
def chromium(content):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage", "--mute-audio"]
        )
        yield browser
        browser.close()


class Window:
    """A page of the browser that remembers every problem."""

    def __init__(self, browser, ui, *, width=1280, scheme="light"):
        self.ui = ui
        self.context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.context.set_default_timeout(TIMEOUT_MS)
        self.page = self.context.new_page()
        self.width = width
        self.problems = []
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", self._note)
        self.page.on("request", lambda request: self._check(request.url))
        self.page.goto(ui.url + ui.path)

    def _note(self, message):
        if message.type in {"error", "warning"}:
            self.problems.append(message.text)

    def _check(self, url):
        if not url.startswith((self.ui.url, "data:", "blob:")):
            self.problems.append(url)

    def open(self, path):
        self.page.goto(self.ui.url + path)
        while self.page.locator("[aria-busy=true]").count():
            self.page.locator("[aria-busy=true]").first.wait_for(state="detached")
        return self.page

    def close(self):
        self.context.close()


@pytest.fixture
def window(chromium, content):
    opened = []

    def begin(**how):
        opened.append(Window(chromium, content[1], **how))
        return opened[-1]

    yield begin
    for each in opened:
        each.close()
        assert each.problems == []


def paths(content):
    workspace, _, (first, second, search) = content
    with Store(workspace) as store:
        digest = store.runs.load(first).dataset.digest
    return [
        "/",
        "/?key=training.skill&test=%3E%3D&value=0.8&order=metric%2C+highest",
        f"/runs/{first}/",
        f"/runs/{first}/logs/train.log",
        f"/compare?run={first}&run={second}&run={search}",
        "/use-cases",
        "/use-cases/GALLERY",
        "/models",
        "/models/GALLERY",
        "/models/GALLERY/1",
        "/datasets",
        f"/datasets/{digest}",
        "/tuning",
        f"/tuning/{search}",
    ]


def violations(page):
    """Return what axe-core finds, one line for each; nothing without it."""
    script = os.environ.get("MLOPS_TEST_AXE", "")
    if not script:
        return []
    session = page.context.new_cdp_session(page)
    session.send("Page.setBypassCSP", {"enabled": True})
    page.reload()
    while page.locator("[aria-busy=true]").count():
        page.locator("[aria-busy=true]").first.wait_for(state="detached")
    page.evaluate(Path(script).read_text(encoding="utf-8"))
    found = page.evaluate("options => axe.run(document, options)", AXE_OPTIONS)
    session.detach()
    return [
        f"{page.url}: {each['id']}: {each['help']}: {node['html'][:160]} {node['failureSummary'][:300]}"
        for each in found["violations"]
        for node in each["nodes"][:3]
    ]


@pytest.mark.representatives(1)
@pytest.mark.parametrize(("width", "scheme"), [(375, "dark"), (1280, "light"), (375, "light"), (1280, "dark")])
def test_every_page_fits_the_window_and_runs_nothing_foreign(window, content, width, scheme):
    shown = window(width=width, scheme=scheme)
    found = []
    for path in paths(content):
        page = shown.open(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        assert page.title() != "owned", path
        assert page.locator("h1").count() == 1, path
        found += violations(page)
    assert found == []


def test_runs_are_marked_and_compared_with_the_keyboard(window, content):
    _, _, (first, second, _) = content
    page = window().open("/")
    button = page.locator("#compare-button")
    assert button.is_disabled()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "top"
    for run in (first, second):
        box = page.get_by_label(f"Compare {run}")
        box.focus()
        page.keyboard.press("Space")
    assert button.inner_text() == "Compare 2 runs"
    button.focus()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Comparison of 2 runs").wait_for()
    page.get_by_text("8 of them that at least one run has right").wait_for()
    chart = page.locator(".curve-chart").first
    chart.focus()
    page.keyboard.press("Home")
    assert page.locator(".readout").first.inner_text().startswith("epoch 1: run 1 2")
    page.get_by_label("Setting", exact=True).select_option("training.skill")
    page.get_by_role("button", name="Draw").click()
    page.get_by_role("link", name=re.compile(r"run \d: training.skill 0.8, acc 0.8")).click()
    page.get_by_role("heading", name=re.compile(first)).wait_for()


@pytest.mark.slow_suite
def test_runs_are_filtered_and_the_list_follows_the_workspace(window, content):
    workspace, _, (first, second, search) = content
    shown = window()
    page = shown.open("/")
    page.get_by_text("Configuration and metrics").click()
    page.get_by_label("Configuration key").fill("training.skill")
    page.get_by_label("Comparison").select_option(">=")
    page.get_by_label("Value", exact=True).fill("0.85")
    page.get_by_role("button", name="Apply").click()
    page.get_by_text("1 of 3 runs").wait_for()
    assert page.get_by_role("link", name=second).count() == 1
    assert page.get_by_role("link", name=first).count() == 0
    page = shown.open("/")
    page.get_by_label(f"Compare {first}").check()
    with Store(workspace) as store:
        store.runs.save(
            store.runs.load(search).__class__.from_json({**store.runs.load(search).to_json(), "duration_s": 4321.0})
        )
    page.get_by_text("1 h 12 min").or_(page.get_by_text("72 min")).first.wait_for()
    assert page.get_by_label(f"Compare {first}").is_checked()  # what the reader marked stays marked


def test_a_version_is_approved_and_gets_an_alias(window, content):
    workspace, _, _ = content
    page = window().open("/models/GALLERY/2")
    page.get_by_label("Reason").fill("better on <everything>")
    page.get_by_role("button", name="Approve").click()
    page.get_by_role("heading", name="Approve GALLERY version 2?").wait_for()
    page.get_by_role("button", name="Approve version 2").click()
    page.get_by_text("The version was approved.").wait_for()
    page.get_by_role("link", name="All versions").click()
    page.get_by_label("Alias", exact=True).fill("production")
    page.get_by_label("Version", exact=True).select_option("2")
    page.get_by_label("Reason").fill("rollout")
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("button", name="Move the alias").click()
    page.get_by_text("The alias was moved.").wait_for()
    page.get_by_role("button", name="Remove the alias production").click()
    page.get_by_label("Reason").fill("end")
    page.get_by_role("button", name="Remove the alias").click()
    page.get_by_text("The alias was removed.").wait_for()
    page.goto(page.url.partition("?")[0].rstrip("/") + "/1")
    page.get_by_label("Reason").fill("worse")
    page.get_by_role("button", name="Reject").click()
    page.get_by_role("link", name="Cancel").click()
    page.get_by_role("heading", name=re.compile("GALLERY version 1 pending")).wait_for()
    with page.expect_download() as download:
        page.get_by_role("link", name="Evidence bundle").click()
    assert Path(download.value.path()).stat().st_size > 10_000
    with Store(workspace) as store:
        registry = Registry(store)
        assert [str(registry.version("GALLERY", number).status) for number in (1, 2)] == [
            "PendingManualApproval",
            "Approved",
        ]
        assert registry.alias_target("GALLERY", "production") is None


@pytest.mark.slow_suite
def test_a_run_is_watched_and_stopped(chromium, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(WAITING))
    command = [*MLOPS, "--workspace", str(tmp_path / "workspace"), "run", "-u", "WAITING"]
    command += ["--set", f"training.until={tmp_path / 'go'}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: list(tmp_path.glob("workspace/runs/*/logs/train.log")), "the training")
    ui = Ui(tmp_path / "workspace", token=True)
    try:
        shown = Window(chromium, ui)
        page = shown.page
        page.get_by_role("link", name=re.compile(r"\d{8}-\d{6}")).click()
        page.get_by_text(re.compile(r"of 10,000 epoch")).wait_for()
        before = page.locator("#live-log").inner_text()
        wait_for(lambda: page.locator("#live-log").inner_text() != before, "the log")
        page.locator("#live-curves .curve-chart").wait_for()
        page.get_by_role("link", name="Stop the run").click()
        page.get_by_role("button", name="Stop the run").click()
        page.get_by_text("The run was asked to stop.").wait_for()
        assert process.wait(DEADLINE_S) == 130
        page.get_by_role("button", name="Write the report").click()  # the page has followed the end of the run
        page.get_by_text("The report was written.").wait_for()
        page.get_by_role("link", name="Report as a file").wait_for()
        assert shown.problems == []
        shown.close()
    finally:
        process.kill()
        process.wait(DEADLINE_S)
        assert ui.stop() == 0


@pytest.mark.slow_suite
def test_the_report_as_a_file_cannot_reach_the_application(window, content):
    _, _, (first, _, _) = content
    shown = window()
    page = shown.open(f"/runs/{first}/report.html")
    assert page.evaluate("origin") == "null"
    assert page.locator("h1").count() == 1
    status = page.evaluate("fetch('/models/GALLERY').then((answer) => answer.status, () => 'refused')")
    assert status == "refused"
    shown.problems.clear()  # the browser names the request that it refused


@pytest.mark.slow_suite
def test_without_the_token_only_the_login_is_shown(chromium, content):
    _, ui, _ = content
    context = chromium.new_context()
    context.set_default_timeout(TIMEOUT_MS)
    page = context.new_page()
    page.goto(f"{ui.url}/models/GALLERY")
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("button", name="Open").click()
    page.get_by_text("That is not the token of this server.").wait_for()
    page.get_by_label("Token").fill(ui.path.partition("=")[2])
    page.get_by_role("button", name="Open").click()
    page.get_by_role("heading", name="Runs", exact=True).first.wait_for()
    assert "token" not in page.url
    context.close()
