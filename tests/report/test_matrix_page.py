"""The page of `mlops matrix`: complete, explicit about runs that were not compared, readable on any screen."""

import re

import pytest

from mlops_core.testing.matrix.cells import Cell, exit_code
from mlops_core.testing.matrix.page import html_page


def cell(runner, status="accepted", **changes):
    fields = {"use_case": "TOY", "plugin": "mlops-toy 0.1.0", "metrics": {"acc": 0.5}, "steps_s": {"train": 1.25}}
    return Cell(runner=runner, status=status, duration_s=2.0, **{**fields, **changes})


LONG = "step 'train' failed: " + "/a/very/long/path" * 12 + " <b>&"
CELLS = (
    cell("local"),
    cell("sagemaker-local", is_same=True),
    cell("local", "rejected", use_case="OTHER"),
    cell("sagemaker-local", "failed", use_case="OTHER", metrics={}, steps_s={}, message=LONG),
    cell("third", use_case="OTHER", is_same=False, message="train.model: model.json has other content"),
    cell("", "broken", use_case="BROKEN", metrics={}, steps_s={}, message="No module named 'x'"),
)


def test_each_use_case_is_a_section_and_each_run_a_row():
    page = html_page(CELLS, title="m")
    counted = ("<section ", 'role="rowheader"', ">TOY</h2>", ">OTHER</h2>", ">BROKEN</h2>")
    assert [page.count(text) for text in counted] == [3, 6, 1, 1, 1]
    assert [page.count(f" {count} {status}</span>") for count, status in ((3, "accepted"), (1, "rejected"))] == [1, 1]
    assert "<b>&" not in page
    assert "&lt;b&gt;&amp;" in page


def test_run_that_was_not_compared_is_not_called_identical():
    rows = re.findall(r'<tr role="row"><th scope="row".*?</tr>', html_page(CELLS, title="m"))
    outputs = [re.sub("<.*?>", "", re.search(r'data-label="Outputs">(.*?)</td>', row)[1]) for row in rows]
    assert outputs == ["not compared", "✓ identical", "not compared", "not compared", "✕ different", "not compared"]


@pytest.mark.parametrize(
    ("cells", "code"), [((), 0), (CELLS[:2], 0), (CELLS[:3], 3), (CELLS[:4], 4), (CELLS[:5], 6), (CELLS[5:], 6)]
)
def test_worst_cell_decides_the_exit_code(cells, code):
    assert exit_code(cells) == code


@pytest.mark.browser
@pytest.mark.parametrize("width", [375, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_fits_the_window_and_loads_nothing(browser, tmp_path, width, scheme):
    path = tmp_path / "matrix.html"
    path.write_text(html_page(CELLS, title="mlops matrix"), encoding="utf-8")
    browser.open(path, width=width, scheme=scheme)
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")
    ratio, text, class_, _ = browser.lowest_contrast()
    assert ratio >= 4.5, (text, class_)
    assert browser.problems == []
