"""``mlops datasets``: what there is, what is in it, what is wrong with it; any use case, by core's own default."""

import json
import xml.etree.ElementTree as ET

import pytest

from mlops_core.cli import _exit_code
from mlops_core.datasets.inspections import Distribution, FactTable, inspect_files
from mlops_core.errors import PluginError
from mlops_core.report.kit import histogram_svg


@pytest.fixture
def run(toy, workspace, capfd):
    def call(*arguments):
        code = _exit_code(["--workspace", str(workspace), "datasets", *arguments])
        out, err = capfd.readouterr()
        return code, out, err

    return call


def test_the_catalogue_says_what_is_on_this_machine(run):
    code, out, _ = run("list", "-u", "TOY", "--json")
    entries = json.loads(out)
    assert code == 0
    name = entries[0]["name"]
    assert entries[0]["is_here"] is False
    assert run("stats", name, "-u", "TOY")[0] == 0
    assert json.loads(run("list", "-u", "TOY", "--json")[1])[0]["is_here"] is True
    code, out, _ = run("show", name, "-u", "TOY")
    assert code == 0
    assert entries[0]["licence"] in out


def test_an_unknown_data_set_is_named(run):
    code, _, err = run("show", "nonsense", "-u", "TOY")
    assert code == 2
    assert "no data set 'nonsense'" in err


def test_a_data_set_that_was_not_fetched_says_how_to_fetch_it(run):
    code, _, err = run("check", "ESC-50", "-u", "AED")
    assert code == 5
    assert "mlops fetch --usecase AED --set dataset.name=ESC-50" in err


def test_an_error_among_the_findings_ends_with_exit_code_5(run, tmp_path):
    data = tmp_path / "data"
    (data / "meta").mkdir(parents=True)
    (data / "meta" / "esc50.csv").write_text("filename,category\na.wav,b\n")
    code, out, err = run("check", "-u", "AED", "--set", f"dataset.path={data}")
    assert code == 5
    assert "error: labels: " in out
    assert f"{data}: 1 finding is an error" in err  # it is the user's folder, whatever dataset.name says
    code, out, _ = run("check", "-u", "AED", "--set", f"dataset.path={data}", "--json")
    assert code == 5
    assert json.JSONDecoder().raw_decode(out)[0][0]["level"] == "error"


def test_plots_are_pictures_that_stand_alone(run, tmp_path):
    code, out, _ = run("stats", "AED_Dataset_FSD50K", "-u", "AED", "--plots", str(tmp_path / "plots"))
    assert code == 0
    assert "clips by class" in out
    pictures = sorted(path.name for path in (tmp_path / "plots").iterdir())
    assert pictures == ["classes.svg", "duration.svg", "level.svg", "peak.svg", "silence.svg"]
    root = ET.parse(tmp_path / "plots" / "classes.svg").getroot()
    assert [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")][1] == "alarm"


def test_a_bar_is_as_long_as_its_count_and_labels_are_escaped():
    picture = histogram_svg(Distribution(name="x", title="a < b", labels=("<i>", "k"), counts=(2, 4)))
    root = ET.fromstring(picture)
    widths = [
        float(bar.get("width")) for bar in root.iter("{http://www.w3.org/2000/svg}rect") if bar.get("width") != "100%"
    ]
    assert widths[1] == 2 * widths[0]
    assert "&lt;i&gt;" in picture


def test_files_are_counted_where_a_plugin_does_not_look_into_them(tmp_path):
    (tmp_path / "a.csv").write_text("1")
    (tmp_path / "b.csv").touch()
    found = inspect_files(tmp_path)
    assert found.tables[0].rows == ((".csv", 2),)
    assert found.findings[0].samples == ("b.csv",)
    assert found.errors == 0


def test_what_cannot_be_shown_is_refused():
    with pytest.raises(PluginError, match="3 counts do not fit"):
        Distribution(name="x", title="x", edges=(0.0, 1.0), counts=(1, 2, 3))
    with pytest.raises(PluginError, match="has not 2 cells"):
        FactTable(title="x", columns=("a", "b"), rows=((1,),))
