"""Runs of the use case GALLERY, and a headless Chromium that opens their reports.

The browser is driven over its debugging pipe: JSON messages, each ended by a zero byte. No driver and no port: the
protocol's two pipes are the browser's file descriptors 3 and 4. Tests that need it are skipped when no Chromium is
installed.
"""

import fcntl
import itertools
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import mlops_core
from mlops_core.report import write_report
from mlops_core.workspace.store import Store

GALLERY = Path(__file__).parent / "gallery"

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
TIMEOUT_S = 120  # generous: the machine may be busy
# Moves the two pipes to the file descriptors that the browser expects, then becomes the browser.
START = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)

# The lowest contrast of any text with its background, including SVG text and the cells of a matrix.
CONTRAST = """(() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const parse = (color) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data; return { c: [r, g, b], a: a / 255 };
  };
  const over = (top, below) => top.c.map((v, i) => v * top.a + below[i] * (1 - top.a));
  const luminance = (c) => {
    const [r, g, b] = c.map((v) => v / 255).map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) layers.push(parse(getComputedStyle(e).backgroundColor));
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255]);
  };
  const contrasts = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const e = node.parentElement;
    if (!node.data.trim() || e.closest("script, .skip, .no-bar") || !e.getClientRects().length) continue;
    const style = getComputedStyle(e);
    const back = behind(e.closest("svg") ?? e);
    const text = over(parse(e.closest("svg") ? style.fill : style.color), back);
    const [low, high] = [luminance(back), luminance(text)].sort((a, b) => a - b);
    contrasts.push([(high + 0.05) / (low + 0.05), node.data.trim().slice(0, 40), e.className.baseVal ?? e.className]);
  }
  return contrasts.sort((a, b) => a[0] - b[0])[0].concat(contrasts.length);
})()"""


class Browser:
    """One page of a headless Chromium."""

    def __init__(self, profile):
        commands, self._to = os.pipe()
        self._from, answers = os.pipe()
        inherited = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (commands, answers)]
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--mute-audio"]
        flags += ["--autoplay-policy=no-user-gesture-required", "--disable-quic", "--disable-background-networking"]
        flags += ["--disable-component-update", "--disable-sync", "--disable-extensions", "--no-first-run"]
        flags += ["--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", START, *map(str, inherited), CHROMIUM, *flags],
            pass_fds=inherited,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for end in (commands, answers, *inherited):
            os.close(end)
        self._numbers = itertools.count(1)
        self._buffer = b""
        self._session = None
        self._loaded = set()
        self.problems = []
        page = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        self.send("Page.setLifecycleEventsEnabled", enabled=True)

    def send(self, method, **parameters):
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        answer = self._read(lambda message: message.get("id") == number)
        assert "error" not in answer, (method, answer["error"])
        return answer["result"]

    def _read(self, is_wanted, timeout_s=TIMEOUT_S):
        end = time.monotonic() + timeout_s
        while True:
            while b"\0" in self._buffer:
                line, _, self._buffer = self._buffer.partition(b"\0")
                message = json.loads(line)
                self._note(message)
                if is_wanted(message):
                    return message
            ready, _, _ = select.select([self._from], [], [], max(0, end - time.monotonic()))
            chunk = os.read(self._from, 1 << 20) if ready else b""
            assert chunk, "the browser does not answer"
            self._buffer += chunk

    def _note(self, event):
        parameters = event.get("params", {})
        match event.get("method"):
            case "Page.lifecycleEvent" if parameters["name"] == "load":
                self._loaded.add(parameters["loaderId"])
            case "Runtime.exceptionThrown":
                self.problems.append(parameters["exceptionDetails"])
            case "Runtime.consoleAPICalled" if parameters["type"] in {"error", "warning", "assert"}:
                self.problems.append(parameters["args"])
            case "Log.entryAdded" if parameters["entry"]["level"] in {"error", "warning"}:
                self.problems.append(parameters["entry"])
            case "Network.requestWillBeSent" if not parameters["request"]["url"].startswith(("file:", "data:")):
                self.problems.append(parameters["request"]["url"])

    def open(self, path, *, width=1400, scheme="light"):
        self.problems.clear()
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        features = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
        self.send(
            "Emulation.setEmulatedMedia", features=[{"name": name, "value": value} for name, value in features.items()]
        )
        loader = self.send("Page.navigate", url=path.as_uri())["loaderId"]
        if loader not in self._loaded:  # an earlier navigation by a click may still report that it has loaded
            self._read(lambda _: loader in self._loaded)

    def run(self, code):
        """Evaluate JavaScript and return its value; a promise is awaited."""
        answer = self.send("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def expect(self, code, value, timeout_s=TIMEOUT_S):
        """Wait until a JavaScript expression has this value: the effect of a click may come a moment later."""
        end = time.monotonic() + timeout_s
        while (result := self.run(code)) != value:
            assert time.monotonic() < end, f"{code} is {result!r}, not {value!r}"
            time.sleep(0.02)

    def click(self, selector):
        """Click in the middle of the element, as a mouse does: the element must be visible and on top."""
        x, y = self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center', behavior: 'instant'}); const b = e.getBoundingClientRect();"
            "return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        for kind, button in (("mouseMoved", "none"), ("mousePressed", "left"), ("mouseReleased", "left")):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, clickCount=1)

    def lowest_contrast(self):
        """Return the lowest contrast ratio of any text, that text, its class, and the number of texts."""
        return self.run(CONTRAST)

    def press(self, key):
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def close(self):
        self._session = None
        try:
            self.send("Browser.close")
            self._process.wait(20)
        except (AssertionError, OSError, subprocess.TimeoutExpired):
            os.killpg(self._process.pid, 9)
            self._process.wait(20)
        os.close(self._to)
        os.close(self._from)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Let one worker execute what needs the browser or the runs (`--dist loadgroup`): both are made once."""
    for item in items:
        if {"browser", "gallery"} & set(item.fixturenames):
            item.add_marker(pytest.mark.xdist_group("report"))


@pytest.fixture(scope="session")
def chromium():
    """The path of Chromium."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed; apt-get install chromium")
    return CHROMIUM


@pytest.fixture(scope="session")
def browser(tmp_path_factory, chromium):
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def gallery(tmp_path_factory):
    """Workspace and ids of runs of GALLERY: accepted (twice), rejected and failed; each has a report."""
    workspace = tmp_path_factory.mktemp("gallery")
    runs = {
        "first": {},
        "accepted": {"overrides": ["training.skill=0.9"]},
        "rejected": {"parameters": {"q_acc": "0.95"}},
        "failed": {"overrides": ["training.behaviour=raise"]},
    }
    with pytest.MonkeyPatch.context() as patch, Store(workspace) as store:
        patch.syspath_prepend(str(GALLERY))
        patch.setenv("PYTHONPATH", str(GALLERY))
        ids = {name: mlops_core.run("GALLERY", workspace=workspace, **how).run_id for name, how in runs.items()}
        for run_id in ids.values():
            write_report(store, run_id)
    return workspace, ids


@pytest.fixture
def page_of(gallery):
    """Return the path of the report of a run of GALLERY."""
    workspace, ids = gallery
    return lambda name: workspace / "runs" / ids[name] / "report.html"
