"""The figures of the pages are those that were measured and recorded; `benchmarks/accuracy.py` writes both."""

import importlib.util
import json
import re
import sys
from datetime import date
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def accuracy():
    path = ROOT / "benchmarks" / "accuracy.py"
    spec = importlib.util.spec_from_file_location("benchmarks_accuracy", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_pages_quote_the_recorded_figures(accuracy):
    record = json.loads(accuracy.RECORD.read_text())
    quoted = set()
    for page in accuracy.pages():
        text = page.read_text()
        assert accuracy.replace_figures(text, record) == text, f"{page.relative_to(ROOT)}: run make figures"
        quoted |= {match[2] for match in accuracy._FIGURE.finditer(text)}
    assert quoted == set(record), "a recorded experiment that no page quotes"


def test_record_has_at_least_three_seeds_of_known_experiments(accuracy):
    for name, entry in json.loads(accuracy.RECORD.read_text()).items():
        assert set(entry["metrics"]) == set(accuracy.EXPERIMENTS[name].metrics)
        assert len(set(entry["seeds"])) >= 3, name
        assert all(len(values) == len(entry["seeds"]) for values in entry["metrics"].values()), name
        assert date.fromisoformat(entry["date"]) >= date(2026, 11, 29)


@pytest.mark.parametrize(
    ("values", "text"), [([0.5], "0.500 (0.500 to 0.500)"), ([4.2, 4.4, 4.3], "4.300 (4.200 to 4.400)")]
)
def test_a_figure_is_the_mean_and_the_range(accuracy, values, text):
    entry = {"date": "2026-11-29", "seeds": [0] * len(values), "folds": 5, "metrics": {"mse": values}}
    page = "MSE <!-- figure: abalone mse -->1<!-- /figure -->, <!-- figure: abalone seeds --><!-- /figure --> seeds"
    shown = re.sub("<!--.*?-->", "", accuracy.replace_figures(page, {"abalone": entry}))
    assert shown == f"MSE {text}, {len(values)} seeds"


def test_a_figure_that_is_not_recorded_is_refused(accuracy):
    with pytest.raises(KeyError):
        accuracy.replace_figures("<!-- figure: abalone mse -->1<!-- /figure -->", {})


def test_a_data_set_is_used_as_published_or_decoded_from_compressed_clips(accuracy, tmp_path):
    experiment = accuracy.EXPERIMENTS["aed-pretrained"]
    scratch = tmp_path / "scratch"
    assert accuracy.find_dataset(experiment, tmp_path, scratch) is None
    (tmp_path / "esc10").mkdir()
    script = "import sys, pathlib; pathlib.Path(sys.argv[1], 'meta').mkdir(parents=True)"
    (tmp_path / "esc10" / "esc50_layout.py").write_text(script)
    assert accuracy.find_dataset(experiment, tmp_path, scratch) == scratch / "ESC-50"
    assert (scratch / "ESC-50" / "meta").is_dir()
    (tmp_path / "ESC-50").mkdir()
    assert accuracy.find_dataset(experiment, tmp_path, scratch) == tmp_path / "ESC-50"
