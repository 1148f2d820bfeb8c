"""The page of `mlops matrix`: complete, honest about what was not compared, and readable on any screen."""

import pytest

from mlops_core.testing.matrix.cells import Cell, exit_code
from mlops_core.testing.matrix.page import html_page


def cell(runner, status="accepted", **changes):
    known = {"use_case": "TOY", "plugin": "mlops-toy 0.1.0", "metrics": {"acc": 0.5}, "steps_s": {"train": 1.25}}
    return Cell(runner=runner, status=status, duration_s=2.0, **{**known, **changes})


LONG = "step 'train' failed: " + "/a/very/long/path" * 12 + " <b>&"
CELLS = (
    cell("local"),
    cell("sagemaker-local", is_same=True),
    cell("local", "rejected", use_case="OTHER"),
    cell("sagemaker-local", "failed", use_case="OTHER", metrics={}, steps_s={}, message=LONG),
    cell("third", use_case="OTHER", is_same=False, message="train.model: model.json has other content"),
    cell("", "broken", use_case="BROKEN", metrics={}, steps_s={}, message="No module named 'x'"),
)


def test_each_use_case_is_a_group_and_each_run_a_row():
    page = html_page(CELLS, title="m")
    assert [page.count(name) for name in ("<tbody>", 'data-label="runner"', "TOY ", "OTHER ")] == [3, 6, 1, 1]
    assert "<b>&" not in page
    assert "&lt;b&gt;&amp;" in page


def test_a_run_that_was_compared_with_nothing_is_not_called_the_same():
    rows = html_page(CELLS, title="m").split("<tr>")
    assert [('class="same"' in row, 'class="DIFFER"' in row) for row in rows if 'data-label="' in row] == [
        (False, False),
        (True, False),
        (False, False),
        (False, False),
        (False, True),
        (False, False),
    ]


@pytest.mark.parametrize(
    ("cells", "code"), [((), 0), (CELLS[:2], 0), (CELLS[:3], 3), (CELLS[:4], 4), (CELLS[:5], 6), (CELLS[5:], 6)]
)
def test_the_gravest_cell_decides_the_exit_code(cells, code):
    assert exit_code(cells) == code


@pytest.mark.browser
@pytest.mark.parametrize("width", [375, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_and_needs_nothing_else(browser, tmp_path, width, scheme):
    path = tmp_path / "matrix.html"
    path.write_text(html_page(CELLS, title="mlops matrix"), encoding="utf-8")
    browser.open(path, width=width, scheme=scheme)
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")
    assert browser.problems == []
