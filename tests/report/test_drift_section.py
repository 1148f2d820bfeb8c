"""The section of a server's page about drift: what it says, and how it looks in a browser."""

from pathlib import Path

import pytest

from mlops_core.serving.drift.alarms import DriftAlarm, MovedFeature, RetrainProposal
from mlops_core.serving.drift.policy import DriftPlan
from mlops_core.serving.front.page import model_page
from mlops_core.serving.models import ServedModel
from mlops_core.serving.protocols import ServiceFacts
from mlops_core.serving.watch.watching import DriftReport

HOSTILE = "<script>document.title = 'owned'</script>"
STATE = {"mmd_20": 0.01, "cusum": 3.0, "mmd_20_threshold": 0.1, "cusum_threshold": 9.4, "seen": 400, "observed": 200}


def alarm(number):
    proposed = RetrainProposal(
        proposed_at="2026-11-29T16:39:43.532Z", model="m", alarm="a", reason="r", next_at="2026-12-06T16:39:43.532Z"
    )
    return DriftAlarm(
        id=f"alarm-{number}",
        raised_at=f"2026-11-29T16:{59 - number}:43.532Z",
        model="ANY version 3",
        statistic="mmd_20" if number % 2 else "cusum",
        value=9.9,
        threshold=9.4,
        window=20,
        observed=100,
        seen=200,
        features=(MovedFeature(name=HOSTILE, shift=2.5, cusum=9.9, ks=0.6, has_moved=True),),
        proposal=None if number else proposed,
    )


def report(**changes):
    history = tuple((1000.0 + 60 * number, {"mmd_20": number / 1000, "cusum": number % 9}) for number in range(200))
    fields = {
        "plan": DriftPlan(windows=(20,), every=2, run_length=2000.0, run_length_each=4000.0),
        "days": 30.0,
        "requests_per_hour": 500.0,
        "reference": "800 held-out samples, 2 features of the answers",
        "state": {**STATE, "alarms": 20},
        "history": history,
        "now": 13000.0,
        "moved": alarm(0).features,
        "alarms": tuple(map(alarm, range(20))),
        "held_out": "1.1 times the rate asked for",
        "use_case": "ANY",
    }
    return DriftReport(**{**fields, **changes})


def page(tmp_path, drift, unwatched="") -> Path:
    model = ServedModel(use_case="ANY", folder=tmp_path, label="version 3")
    facts = ServiceFacts(use_case="ANY", model="version 3", workers=1, max_body_bytes=100)
    path = tmp_path / "page.html"
    path.write_text(model_page(model, None, facts, drift=drift, unwatched=unwatched), encoding="utf-8")
    return path


def test_an_alarm_is_named_with_its_threshold_and_the_command_that_retrains(tmp_path):
    text = page(tmp_path, report()).read_text()
    assert "cusum 9.9 reached 9.4" in text
    assert "<code>mlops run -u ANY</code>. Nothing was started or deployed." in text
    assert text.count('class="curve-chart"') == 2
    assert "one in 2 samples; 200 of 400 so far" in text
    assert HOSTILE not in text


def test_no_alarm_and_no_samples_yet_are_said(tmp_path):
    text = page(tmp_path, report(alarms=(), history=(), moved=())).read_text()
    assert "no alarm" in text
    assert "A chart appears when two samples have been observed." in text
    reason = "drift is not watched: the reference has 20 samples"
    assert "Drift is not watched: the reference has 20 samples" in page(tmp_path, None, reason).read_text()


@pytest.mark.browser
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("width", "scheme"), [(375, "light"), (375, "dark"), (1280, "light"), (1280, "dark")])
def test_the_page_fits_the_window_has_enough_contrast_and_loads_nothing(browser, tmp_path, width, scheme):
    browser.open(page(tmp_path, report()), width=width, scheme=scheme)
    assert browser.run("document.documentElement.scrollWidth") <= width
    ratio, text, place, count = browser.lowest_contrast()
    assert ratio >= 4.5, (text, place)
    assert count > 20
    assert browser.run("document.title") == "ANY version 3 - mlops serve"
    assert browser.problems == []
