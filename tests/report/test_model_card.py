"""The model card: valid front matter and harmless Markdown whatever the names are, and what it says."""

import dataclasses
import json
import math
import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mlops_core import Direction, Metric, MetricReport, MetricValue, PretrainedModel, Unit
from mlops_core.api import export_model
from mlops_core.cli import _exit_code
from mlops_core.datasets.licences import Licences
from mlops_core.evaluation.confusion import ConfusionMatrix
from mlops_core.evaluation.metrics import GroupBreakdown, GroupMetrics
from mlops_core.gates.verdicts import ClauseVerdict, Verdict
from mlops_core.report.facts import Missing, RunFacts
from mlops_core.report.model_card import CardFacts, markdown_text, model_card
from mlops_core.report.model_card.markdown import one_line
from mlops_core.workspace.records import DatasetRecord, RunRecord, RunStatus

SECTIONS = ["Intended use", "Data", "Metrics", "Limits", "Lineage"]
HOSTILE = [
    "---",
    "a\n---\nlicense: mit",
    "quote \" and ' and `tick`",
    "yes",
    "1.0",
    "null",
    ": - {x}",
    "# heading",
    "<script>alert(1)</script>",
    "[link](javascript:x)",
    "![i](http://x/y.png)",
    "https://evil.example",
    "| a | b |",
    "été 日本 \u202e rtl",
    "\ud800",
    "&lt;b&gt;",
    "*" * 500,
    "\x1b[2J",
    "%YAML 1.2",
    "\u2028---\u2028",
    "\ufffe\uffff \U0001f436",
]


def facts(name="siren", *, licence="", data_licence="CC-BY-4.0", values=None, **changes):
    metric = Metric(
        name="acc", section="m", unit=Unit.FRACTION, minimum=0, maximum=1, direction=Direction.HIGHER, title=name
    )
    report = MetricReport(
        values={"acc": MetricValue(value=0.9, low=0.8, high=0.95, count=40)} if values is None else values,
        confusion_matrices={"m": ConfusionMatrix(classes=(name, "b"), counts=((3, 1), (6, 30)))},
        groups=GroupBreakdown(count=2, samples=40, metrics={name: GroupMetrics(samples=4, values={"acc": 0.75})}),
    )
    record = RunRecord(
        run_id="r1",
        use_case=name,
        plugin=f"{name} 1.0",
        runner="local",
        status=RunStatus.ACCEPTED,
        created="2026-01-02T03:04:05+00:00",
        seed=7,
        parameters={name: name},
        config="",
        pipeline={"model": "train.model"},
        dataset=DatasetRecord(name=name, path="/d", digest="ab" * 32, files=3, size_bytes=10, licence=data_licence),
        verdict=Verdict(
            accepted=True,
            clauses=(ClauseVerdict(clause=name, metric="acc", value=0.9, threshold=0.5, passed=True, reason=name),),
        ),
        environment={name: name},
    )
    base = PretrainedModel(name=name if name.strip() else "x", licence=name, source=name)
    return dataclasses.replace(
        CardFacts(
            run=RunFacts(record=record, metrics=(metric,), evaluation=report, folder=None),
            licences=Licences(dataset_name=name, dataset=data_licence, base_models=(base,)),
            parts={"train": 60, "test": 40},
            version=3,
            description=name,
            licence=licence,
        ),
        **changes,
    )


def split_card(text):
    """Return front matter and body as the Hub's own expression divides them."""
    match = re.match(r"^(\s*---[\r\n]+)([\S\s]*?)([\r\n]+---(\r\n|\n|$))", text)
    return yaml.safe_load(match[2]), text[match.end() :]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_name_stays_a_name(name):
    data, body = split_card(model_card(facts(name)))
    assert set(data) == {"license", "library_name", "tags", "datasets", "metrics", "model-index"}
    assert data["license"] == "unknown"
    assert all(isinstance(value, str) for value in (*data["tags"], *data["datasets"], *data["metrics"]))
    assert [line[3:] for line in body.splitlines() if line.startswith("## ")] == SECTIONS
    assert "<script" not in body.replace("\\<script", "")
    assert "](" not in body.replace("\\](", "")
    assert "://" not in body.replace("\\://", "")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\u202e\u2028\ud800-\udfff]", body)
    model_card(facts(name)).encode()


@given(st.text(max_size=40))
def test_any_name_leaves_the_card_whole(name):
    text = model_card(facts(name))
    data, body = split_card(text)
    assert len(data["model-index"]) == 1
    assert [line[3:] for line in body.splitlines() if line.startswith("## ")] == SECTIONS
    tables = [line for line in body.splitlines() if line.startswith("|")]
    widths = {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in tables}
    assert widths <= {3, 4, 5, 6}


def test_card_is_a_pure_function():
    assert model_card(facts()) == model_card(facts())


def test_results_are_in_the_form_of_the_hub():
    data, _ = split_card(model_card(facts()))
    (entry,) = data["model-index"]
    (result,) = entry["results"]
    assert entry["name"] == "siren version 3"
    assert result["task"]["type"]
    assert result["dataset"] == {"type": "siren", "name": "siren", "split": "test", "revision": "ab" * 32}
    assert result["metrics"] == [
        {"type": "acc", "name": "siren", "value": 0.9, "args": {"confidence_interval": [0.8, 0.95], "level": 0.95}}
    ]


@given(st.floats(allow_nan=False, allow_infinity=False), st.text())
def test_numbers_and_names_of_the_front_matter_are_read_back(number, name):
    values = {"acc": MetricValue(value=number, low=number, high=number)}
    data, _ = split_card(model_card(facts(name, values=values)))
    (metric,) = data["model-index"][0]["results"][0]["metrics"]
    assert (metric["value"], metric["args"]["confidence_interval"]) == (number, [number, number])
    assert data["datasets"] == [one_line(name)]


@pytest.mark.parametrize(
    ("licence", "fields"),
    [
        ("", {"license": "unknown"}),
        ("Apache-2.0", {"license": "apache-2.0"}),
        ("LicenseRef-Own", {"license": "other", "license_name": "LicenseRef-Own"}),
        ("MIT OR Apache-2.0", {"license": "other", "license_name": "MIT OR Apache-2.0"}),
    ],
)
def test_licence_of_the_model_is_one_that_the_hub_knows_or_other(licence, fields):
    data, _ = split_card(model_card(facts(licence=licence)))
    assert {name: value for name, value in data.items() if name.startswith("license")} == fields


def test_licence_of_the_data_is_not_said_to_be_that_of_the_model():
    data, body = split_card(model_card(facts(data_licence="MIT")))
    assert data["license"] == "unknown"
    assert "| Licence | MIT |" in body
    assert "Licence of the model: none was declared" in body


@pytest.mark.parametrize(
    ("value", "basis"),
    [
        (MetricValue(value=0.9, low=0.8, high=0.95, method="bootstrap", count=2, groups=2), "2 groups"),
        (MetricValue(value=0.9, low=0.8, high=0.95, count=40, groups=2), "40 samples in 2 groups"),
        (MetricValue(value=0.9, low=0.8, high=0.95, count=40), "40 samples"),
        (MetricValue(value=0.9, low=0.8, high=0.95), "-"),
    ],
)
def test_groups_are_not_counted_as_samples(value, basis):
    _, body = split_card(model_card(facts(values={"acc": value})))
    row = next(line for line in body.splitlines() if line.startswith("| siren | 0.9 |"))
    assert row.endswith(f" | {basis} | higher |")
    assert "| Metric | Value | Interval | Rests on | Better |" in body


def test_limits_name_what_restricts_the_use_or_is_not_known():
    _, body = split_card(model_card(facts(data_licence="CC-BY-NC-3.0")))
    limits = body.partition("## Limits")[2].partition("## Lineage")[0]
    assert "data set 'siren': CC-BY-NC-3.0 forbids commercial use" in limits
    assert "Fewer than 10 test samples, too few to judge: siren." in limits
    assert "2 groups" in limits
    unknown = split_card(model_card(facts(data_licence="", licences=None)))[1]
    assert "Licences: the run has no record of them." in unknown


def test_metric_that_is_not_a_number_is_no_result_and_a_limit():
    values = {"acc": MetricValue(value=math.nan, low=math.nan, high=math.nan)}
    data, body = split_card(model_card(facts(values=values)))
    assert "model-index" not in data
    assert "siren is NaN" in body.partition("## Limits")[2]


def test_card_without_evaluation_says_so():
    found = facts()
    found = dataclasses.replace(found, run=dataclasses.replace(found.run, evaluation=Missing("It is gone.")))
    data, body = split_card(model_card(found))
    assert "model-index" not in data
    assert "Not available. It is gone." in body
    assert "Nothing is known about its quality." in body


def test_markdown_text_keeps_plain_text():
    assert markdown_text("dog bark 2.5 (clean)") == "dog bark 2.5 (clean)"


def test_hub_library_parses_the_card():
    hub = pytest.importorskip("huggingface_hub")
    for name in [*HOSTILE, "siren"]:
        card = hub.ModelCard(model_card(facts(name, licence="Apache-2.0")), ignore_metadata_errors=False)
        assert card.data.license == "apache-2.0"
        (result,) = card.data.eval_results
        assert result.metric_value == 0.9
        assert result.metric_args["confidence_interval"] == [0.8, 0.95]


# --- Of a real run ----------------------------------------------------------------------------------------


def test_card_is_beside_an_exported_model_and_in_the_report(ran, workspace, tmp_path, capsys):
    export_model("TOY", 1, tmp_path / "out", workspace=workspace)
    text = (tmp_path / "out" / "README.md").read_text()
    data, body = split_card(text)
    assert data["datasets"] == ["words"]
    assert f"| Run | {ran.run_id} |" in body
    page = (workspace / "runs" / ran.run_id / "report.html").read_text()
    assert "model-index:" in page
    capsys.readouterr()
    assert _exit_code(["--workspace", str(workspace), "models", "card", "-u", "TOY"]) == 0
    assert capsys.readouterr().out == text


def test_card_is_written_with_the_licence_that_its_owner_declares(ran, workspace, tmp_path, capsys):
    path = tmp_path / "card.md"
    command = ["--workspace", str(workspace), "models", "card", "-u", "TOY", "1", "-o", str(path), "--licence"]
    assert _exit_code([*command, "MIT"]) == 0
    assert split_card(path.read_text())[0]["license"] == "mit"
    assert _exit_code([*command, "free for all"]) == 2
    assert "expected an SPDX identifier" in capsys.readouterr().err


def test_model_whose_run_is_gone_is_exported_without_a_card(ran, workspace, tmp_path, caplog):
    path = workspace / "runs" / ran.run_id / "run.json"
    path.write_text(json.dumps({"format": "other"}))
    export_model("TOY", 1, tmp_path / "out", workspace=workspace)
    assert not (tmp_path / "out" / "README.md").exists()
    assert (tmp_path / "out" / "model.txt").exists()
    assert "no model card of version 1" in caplog.text
