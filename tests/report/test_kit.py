"""The HTML and SVG kit: escaping, tables, scales, charts, the document around them."""

import math
import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_core.datasets.inspections import Distribution
from mlops_core.report.kit import (
    Curve,
    IntervalMark,
    PageSection,
    Scale,
    badge,
    curve_chart,
    data_table,
    document,
    element,
    group,
    histogram_svg,
    interval_chart,
    missing_note,
    nice_scale,
    render_page,
    script,
    tile,
)

# --- Elements ---


def test_text_and_attributes_are_escaped_once():
    paragraph = element("p", "a<b>&", element("em", "x"), None, 3, title="\"'<&", class_="c", hidden=True, open=False)
    assert paragraph.html == '<p title="&quot;&#x27;&lt;&amp;" class="c" hidden>a&lt;b&gt;&amp;<em>x</em>3</p>'


def test_the_value_of_a_tile_may_break_after_an_underscore():
    assert "ROAD_<wbr>SIGN" in str(tile("Data set", "ROAD_SIGN"))


def test_void_elements_have_no_end_tag_and_attribute_names_get_hyphens():
    assert element("meta", http_equiv="x").html == '<meta http-equiv="x">'
    assert group(element("svg", stroke_width=1.23456, viewBox="0 0 1 1")).html == (
        '<svg stroke-width="1.235" viewBox="0 0 1 1"></svg>'
    )


def test_script_that_contains_its_end_tag_is_refused():
    with pytest.raises(ValueError, match="its own end tag"):
        script("let a = '</SCRIPT>';")


@given(st.text())
def test_any_text_can_be_encoded_as_utf_8(text):
    assert document(element("p", text + "\ud800"), language="en").encode("utf-8").startswith(b"<!DOCTYPE html>")


# --- Scales ---


@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=5))
def test_nice_scale_contains_every_value(values):
    scale = nice_scale(values)
    tolerance = 1e-6 * (abs(scale.low) + abs(scale.high))
    assert scale.low < scale.high
    assert scale.low <= min(values) + tolerance
    assert max(values) <= scale.high + tolerance
    assert len(scale.ticks()) == 5


def test_nice_scale_has_round_ends_and_fractions_end_at_one():
    assert nice_scale([0.03, 7.4]) == Scale(0, 8)
    fractions = nice_scale([0.48, 0.99])
    assert fractions.high == pytest.approx(1)
    assert fractions.low <= 0.48
    assert nice_scale([5, 5]).low < 5 < nice_scale([5, 5]).high
    assert nice_scale([math.nan, math.inf]) == Scale(0, 1)


def test_values_outside_a_scale_are_moved_to_its_ends():
    assert [Scale(0, 10).place(value) for value in (-3, 0, 5, 40)] == [0, 0, 0.5, 1]


# --- Blocks ---


def test_table_cells_carry_their_heading_for_narrow_screens():
    table = data_table("Runs", ("Run", "Seed"), [("a<b", 1), ("c", None)]).html
    assert table.count('scope="col"') == 2
    assert '<th scope="row" role="rowheader">a&lt;b</th><td role="cell" data-label="Seed"><div>1</div></td>' in table
    assert "<caption>Runs</caption>" in table


def test_table_row_with_another_number_of_cells_is_refused():
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        data_table("Runs", ("Run", "Seed"), [("a",)])


def test_badge_shows_its_meaning_without_colour():
    assert [re.sub("<.*?>", "", badge("x", kind).html) for kind in ("good", "bad", "warn", "reused")] == [
        "✓ x",
        "✕ x",
        "! x",
        "↺ x",
    ]


def test_missing_note_is_a_sentence():
    assert re.sub("<.*?>", "", missing_note("no step was recorded.").html) == "Not available. No step was recorded."


# --- Charts ---


def test_interval_chart_omits_what_is_not_finite():
    mark = IntervalMark(value=0.5, low=math.nan, high=math.nan, previous=math.inf, thresholds=(0.25,), is_good=False)
    chart = interval_chart(mark, Scale(0, 1), label="accuracy <0.5>").html
    assert chart.count("<circle") == 1
    assert 'class="interval"' not in chart
    assert '<line class="threshold" x1="25%" x2="25%"' in chart
    assert 'class="interval-chart bad" role="img" aria-label="accuracy &lt;0.5&gt;"' in chart


def test_curve_with_one_point_is_a_dot_and_others_are_lines():
    curves = [
        Curve(name="loss", kind="training", points=((1, 2), (2, 1))),
        Curve(name="val loss", kind="held-out", points=((1, 3),)),
    ]
    chart = curve_chart(curves, x_label="epoch", label="loss by epoch").html
    assert chart.count("<polyline") == 1
    assert '<circle class="curve point held-out"' in chart
    assert "&quot;name&quot;:&quot;val loss&quot;,&quot;points&quot;:[[1,3]]" in chart


@pytest.mark.parametrize(
    ("values", "ends"),
    [((0.95, 0.98), ("0", "1")), ((0.02, 0.05), ("0", "0.06")), ((310, 340), ("0", "400")), ((-3, -2), ("-3", "0"))],
)
def test_axis_of_a_curve_has_a_baseline_so_that_a_small_change_looks_small(values, ends):
    curve = Curve(name="accuracy", kind="held-out", points=tuple(enumerate(values)))
    chart = curve_chart([curve], x_label="epoch", label="accuracy").html
    ticks = re.findall(r'text-anchor="end">([-0-9.]+)<', chart)[:5]
    assert (ticks[0], ticks[-1]) == ends


@given(st.text())
def test_histogram_is_well_formed_xml_for_any_text(text):
    drawing = ET.fromstring(histogram_svg(Distribution(name="x", title=text, labels=(text,), counts=(1,))))
    assert len(drawing.findall("{http://www.w3.org/2000/svg}text")) == 3


# --- Pages ---


def test_page_links_to_its_sections_and_allows_only_its_own_style_and_script():
    sections = [PageSection(anchor=name, title=f"{name}<", body=element("p", name)) for name in ("one", "two")]
    header = element("header", element("h1", "Title"))
    page = render_page(title="a<b", brand="test", header=header, sections=sections, stylesheet="h1 { color: red }")
    assert "<title>a&lt;b</title>" in page
    assert re.findall(r'<a href="#(\w+)">(.*?)</a>', page) == [("one", "one&lt;"), ("two", "two&lt;")]
    assert re.findall(r'<section id="(\w+)"', page) == ["one", "two"]
    assert page.count("<style>") == page.count("<script>") == 1
    assert "h1 { color: red }</style>" in page
    policy = re.search(r'content="(default-src .*?)"', page)[1]
    assert policy.startswith("default-src &#x27;none&#x27;; style-src &#x27;sha256-")
