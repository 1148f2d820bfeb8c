"""The report in a real browser: narrow and wide, light and dark."""

import itertools
import json
from pathlib import Path

import pytest

from mlops_core.report.compared.page import render_comparison
from mlops_core.report.compared.runs import compare_stored_runs
from mlops_core.workspace.store import Store

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

SIZES = [(375, "light"), (375, "dark"), (1400, "light"), (1400, "dark")]
RUNS = ["accepted", "rejected", "failed"]


@pytest.mark.representatives("run", "width", "scheme")
@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize(("width", "scheme"), SIZES)
def test_report_fits_the_window_has_enough_contrast_and_loads_nothing(browser, page_of, run, width, scheme):
    browser.open(page_of(run), width=width, scheme=scheme)
    assert browser.run("document.documentElement.scrollWidth") <= width
    ratio, text, place, count = browser.lowest_contrast()
    assert ratio >= 4.5, (text, place)
    assert count > 40
    is_dark = browser.run("getComputedStyle(document.body).backgroundColor.match(/\\d+/g)[0] < 60")
    assert is_dark is (scheme == "dark")
    assert browser.problems == []


@pytest.mark.parametrize("width", [375, 1400])
def test_nothing_overflows_the_page_with_all_details_open(browser, page_of, width):
    browser.open(page_of("accepted"), width=width)
    browser.run("document.querySelectorAll('details').forEach((element) => { element.open = true; })")
    overflowing = browser.run(
        "[...document.querySelectorAll('main *')].filter((e) => !e.closest('.scroll, svg, .stack thead, caption')"
        f" && e.getBoundingClientRect().right > {width} + 1).map((e) => e.tagName + '.' + e.className)"
    )
    assert overflowing == []
    assert browser.run("document.documentElement.scrollWidth") <= width


def test_no_text_of_a_record_becomes_markup(browser, page_of):
    for run in RUNS:
        browser.open(page_of(run))
        assert browser.run("document.title").startswith("GALLERY")
        assert browser.run("document.querySelectorAll('script').length") == 1
        assert browser.run("document.querySelectorAll('b, i, u, img[onerror], img[src=x]').length") == 0
        assert browser.run("document.body.textContent.includes('<script>document.title = \\'owned\\'</script>')")


def test_tabs_select_a_matrix_and_a_switch_its_cell_values(browser, page_of):
    browser.open(page_of("accepted"))
    shown = "[...document.querySelectorAll('.panel')].map((panel) => panel.getClientRects().length > 0)"
    browser.expect(shown, [True, False])
    browser.click("label[for=matrix-tab-1]")
    browser.expect(shown, [False, True])
    browser.click("label[for=matrix-tab-0]")
    browser.expect(shown, [True, False])
    cell = "document.querySelector('.panel .matrix td.right.l9, .panel .matrix td.right.l10').innerText"
    browser.expect(cell, "9")
    browser.click("label[for=cells-shares]")
    browser.expect(cell, ".90")
    browser.click("label[for=cells-counts]")
    browser.expect(cell, "9")
    browser.run("document.querySelector('#cells-counts').focus()")
    browser.press("ArrowRight")
    browser.expect("document.querySelector('#cells-shares').checked", True)


def test_values_of_a_curve_are_shown_at_the_pointer_and_by_keyboard(browser, page_of):
    browser.open(page_of("accepted"))
    readout = "document.querySelector('.readout').textContent"
    final_values = "final: loss 0.06667, val loss 0.4067"
    browser.expect(readout, final_values)
    browser.click(".curve-chart")
    browser.expect(readout, "epoch 14: loss 0.1429, val loss 0.3127")
    browser.run("document.querySelector('.curve-chart').focus()")
    browser.press("Home")
    browser.expect(readout, "epoch 1: loss 2, val loss 2.211")
    browser.press("ArrowRight")
    browser.expect(readout, "epoch 2: loss 1, val loss 1.122")
    browser.run("document.querySelector('.curve-chart').blur()")
    browser.expect(readout, final_values)


def test_details_open_and_links_lead_to_their_sections(browser, page_of):
    browser.open(page_of("accepted"), width=375)
    browser.click("#provenance .fold")
    browser.click("#provenance summary")
    browser.expect("document.querySelector('#provenance details').open", True)
    assert "code mlops_gallery" in browser.run("document.querySelector('#provenance details').innerText")
    for link in browser.run("[...document.querySelectorAll('.contents li a')].map((link) => link.hash)"):
        browser.click(f".contents a[href='{link}']")
        top = f"Math.abs(document.querySelector({json.dumps(link)}).getBoundingClientRect().top)"
        browser.expect(f"location.hash === {json.dumps(link)} && {top} < innerHeight", True)


def test_long_sections_are_folded_on_a_phone_and_open_by_their_heading_or_link(browser, page_of):
    browser.open(page_of("accepted"), width=375)
    assert browser.run("document.documentElement.scrollHeight") < 6000
    is_shown = "document.querySelector('#samples .samples').getClientRects().length > 0"
    assert browser.run("document.querySelector('#verdict .clauses').getClientRects().length > 0")
    assert not browser.run(is_shown)
    browser.click("#samples .fold")
    browser.expect(is_shown, True)
    browser.expect("document.querySelector('#samples .fold').ariaExpanded", "true")
    browser.click("#samples .fold")
    browser.expect(is_shown, False)
    browser.click(".contents a[href='#samples']")
    browser.expect(is_shown, True)


def test_nothing_is_folded_in_a_wide_window_or_on_paper(browser, page_of):
    hidden = "[...document.querySelectorAll('main > section > *')].filter((e) => !e.getClientRects().length).length"
    browser.open(page_of("accepted"), width=1280)
    assert browser.run(hidden) == 0
    browser.open(page_of("accepted"), width=375)
    assert browser.run(hidden) > 0
    browser.send("Emulation.setEmulatedMedia", media="print")
    try:
        assert browser.run(hidden) == 0
        more = "<details id=more><summary>4 more groups</summary><div><table class=groups></table></div></details>"
        browser.run(f"document.querySelector('#metrics').insertAdjacentHTML('beforeend', {json.dumps(more)})")
        assert browser.run("document.querySelector('#more > div').checkVisibility()")
        assert browser.run("getComputedStyle(document.querySelector('audio')).display") == "none"
        assert browser.run("getComputedStyle(document.querySelector('.metrics tr')).display") == "table-row"
    finally:
        browser.send("Emulation.setEmulatedMedia", media="")


@pytest.mark.parametrize(("width", "is_cut"), [(375, True), (1400, False)])
def test_a_matrix_that_is_cut_says_so(browser, page_of, width, is_cut):
    browser.open(page_of("accepted"), width=width)
    browser.run("document.querySelector('#confusion').classList.remove('folded')")
    browser.expect("document.querySelector('.scroll-hint').getClientRects().length > 0", is_cut)
    assert "8 columns" in browser.run("document.querySelector('.scroll-hint').textContent")


@pytest.mark.parametrize("width", [375, 1280])
def test_the_key_figures_are_even(browser, page_of, width):
    browser.open(page_of("accepted"), width=width)
    sizes = browser.run("[...document.querySelectorAll('.tiles li')].map((tile) => tile.getBoundingClientRect().width)")
    assert max(sizes[:-1]) - min(sizes[:-1]) < 2
    tops = browser.run("[...document.querySelectorAll('.tiles li')].map((e) => [e.offsetTop, e.offsetHeight])")
    assert all(len({height for top, height in tops if top == row}) == 1 for row, _ in tops)


def test_samples_can_be_played_viewed_and_read(browser, page_of):
    browser.open(page_of("accepted"))
    loaded = (
        "Promise.all([...document.querySelectorAll('audio')].map((sound) => sound.readyState >= 1 ? sound.duration"
        " : new Promise((done) => sound.addEventListener('loadedmetadata', () => done(sound.duration)))))"
    )
    durations = browser.run(loaded)
    assert durations
    assert set(durations) == {4}
    pictures = "[...document.querySelectorAll('.preview img')].map((picture) => picture.naturalWidth)"
    assert set(browser.run(pictures)) == {24}
    assert browser.run("document.querySelector('.preview pre').textContent").startswith("</pre><script>")
    assert "no <such> file" in browser.run("document.querySelector('.samples').textContent")
    playing = "[...document.querySelectorAll('audio')].map((sound) => !sound.paused)"
    for number in range(2):
        browser.run(f"document.querySelectorAll('audio')[{number}].play().then(() => true)")
    browser.expect(f"{playing}.slice(0, 2)", [False, True])


def test_the_previous_accepted_run_is_one_click_away(browser, page_of):
    browser.open(page_of("rejected"))
    browser.click("#changes .lead a")
    browser.expect("location.href", page_of("accepted").as_uri())


def test_report_works_without_its_script(browser, page_of):
    browser.send("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(page_of("accepted"))
        browser.click("label[for=matrix-tab-1]")
        browser.click("#provenance summary")
    finally:
        browser.send("Emulation.setScriptExecutionDisabled", value=False)
    browser.expect("document.querySelectorAll('.panel')[1].getClientRects().length", 1)
    browser.expect("document.querySelector('#provenance details').open", True)
    assert browser.run("document.querySelectorAll('.curve').length") == 3


@pytest.mark.parametrize("run", RUNS)
def test_headings_tables_charts_and_fields_have_names(browser, page_of, run):
    browser.open(page_of(run))
    levels = browser.run("[...document.querySelectorAll('h1, h2, h3')].map((heading) => Number(heading.tagName[1]))")
    assert levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in itertools.pairwise(levels))
    nameless = (
        "[...document.querySelectorAll('table:not(:has(caption)), svg[role=img]:not([aria-label]), img:not([alt]),"
        " audio:not([aria-label]), th:not([scope])')].map((e) => e.outerHTML.slice(0, 80))"
    )
    assert browser.run(nameless) == []
    labelled = "[...document.querySelectorAll('input')].every((field) => field.labels.length === 1)"
    assert browser.run(labelled)
    ids = browser.run("[...document.querySelectorAll('[id]')].map((element) => element.id)")
    assert len(ids) == len(set(ids))


@pytest.mark.representatives("width", "scheme")
@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (390, "dark"), (1280, "light"), (1280, "dark")])
def test_comparison_fits_the_window_and_shows_sounds_and_pictures(
    browser, gallery, tmp_path, monkeypatch, width, scheme
):
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "gallery"))
    workspace, ids = gallery
    with Store(workspace) as store:
        compared = compare_stored_runs(store, ids["first"], ids["accepted"], with_previews=True)
    path = tmp_path / "compared.html"
    path.write_text(render_comparison(compared), encoding="utf-8")
    browser.open(path, width=width, scheme=scheme)
    browser.run("document.querySelectorAll('details').forEach((element) => { element.open = true; })")
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.lowest_contrast()[0] >= 4.5
    assert browser.run("document.querySelectorAll('.changed audio[controls]').length") > 0
    assert browser.run("document.querySelectorAll('.changed img').length") > 0
    assert browser.problems == []
