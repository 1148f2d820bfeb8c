"""The record of a run as the output of a notebook's cell."""

import re
import shutil
from dataclasses import replace
from html import escape

import pytest

import mlops_core
from mlops_core.workspace.records import RunRecord, RunStatus

PAGE = """<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>notebook</title>
<style>body {{ background: {background}; color: {text}; }} td, th {{ text-align: right; }}</style><body>{output}"""


def record_of(gallery, name):
    workspace, ids = gallery
    return mlops_core.open_run(ids[name], workspace=workspace)


def test_an_accepted_run_shows_its_verdict_its_clauses_and_its_curves(gallery):
    record = record_of(gallery, "accepted")
    html = record._repr_html_()
    for clause in record.verdict.clauses:
        assert f"<code>{escape(clause.clause)}</code>" in html
    assert html.count("</span> passed</span>") == len(record.verdict.clauses)
    assert "</span> accepted</span>" in html
    assert '<polyline class="curve' in html
    assert "The model passed the gate and is registered as version" in html


def test_a_rejected_and_a_failed_run_say_why(gallery):
    rejected, failed = (record_of(gallery, name) for name in ("rejected", "failed"))
    assert rejected.status is RunStatus.REJECTED
    assert "The gate rejected the model. Nothing was registered." in rejected._repr_html_()
    assert "</span> failed</span>" in rejected._repr_html_()
    assert "Step train failed." in failed._repr_html_()
    assert "Last log lines of train" in failed._repr_html_()


def test_texts_of_a_run_are_escaped_and_the_style_sheet_stays_in_its_block(ran):
    html = replace(
        ran, use_case="<img src=x onerror=1>", error="</style><script>", status=RunStatus.FAILED
    )._repr_html_()
    assert "<img" not in html
    assert "<script" not in html
    assert html.count("</style>") == 1
    css = re.search(r"<style>(.*)</style>", html, re.DOTALL)[1]
    selectors = [one.strip() for block in re.findall(r"([^{}]+)\{", css) for one in block.split(",")]
    assert all(selector.startswith(".mlops-output") for selector in selectors)
    assert " id=" not in html  # the output may occur twice on a page


def test_a_record_outlives_its_workspace(ran, workspace):
    shutil.rmtree(workspace)
    html = ran._repr_html_()
    assert f"The workspace {workspace} does not exist any more." in html
    assert "<code>acc &gt;= q_acc</code>" in html
    assert not workspace.exists()


def test_a_record_that_no_workspace_holds_is_shown_as_its_line(ran):
    read = RunRecord.from_json(ran.to_json())
    assert read == ran  # records are compared without their view
    assert read._repr_html_() is None
    assert "view" not in repr(ran)


@pytest.mark.browser
@pytest.mark.parametrize(
    ("background", "text"), [("#ffffff", "rgb(0 0 0 / 87%)"), ("#111111", "rgb(255 255 255 / 87%)")]
)
def test_every_text_can_be_read_on_a_light_and_on_a_dark_page(browser, gallery, tmp_path, background, text):
    path = tmp_path / "notebook.html"
    outputs = (record_of(gallery, name)._repr_html_() for name in ("accepted", "rejected", "failed"))
    path.write_text(PAGE.format(background=background, text=text, output="".join(outputs)))
    browser.open(path, width=700)
    contrast, shown, *_ = browser.lowest_contrast()
    assert contrast >= 4.5, shown
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")
    assert browser.problems == []
