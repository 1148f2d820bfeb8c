"""Discovery and loading: a broken plugin affects only the runs that select it."""

import subprocess
import sys
import textwrap
import uuid
from pathlib import Path

import pytest

import mlops_core
from mlops_core.errors import DatasetError, PluginError, UsageError
from mlops_core.predictions import Predictions
from mlops_core.use_cases.discovery import discover_use_cases
from mlops_core.use_cases.manager import load_use_case

GOOD = "from mlops_toy.plugin import *\nfrom mlops_toy.plugin import hookimpl\n"


@pytest.fixture
def install(tmp_path, monkeypatch, toy):
    """Install a plugin's source under a name; returns the folder."""

    def install(name, source, distribution="mlops-bad"):
        folder = tmp_path / distribution
        module = f"bad_{uuid.uuid4().hex}"
        info = folder / f"{distribution.replace('-', '_')}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[mlops.usecases]\n{name} = {module}\n")
        (folder / f"{module}.py").write_text(textwrap.dedent(source))
        monkeypatch.syspath_prepend(str(folder))
        return folder

    return install


def test_discovery_reads_metadata_and_imports_nothing(toy):
    code = (
        "import sys; from mlops_core.use_cases.discovery import discover_use_cases;"
        "print([u.name for u in discover_use_cases()], [m for m in sys.modules if m.startswith('mlops_toy')])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "TOY" in out
    assert out.strip().endswith("[]")


def test_a_use_case_is_found_without_regard_to_case(toy):
    assert load_use_case("toy").name == "TOY"


def test_an_unknown_name_is_answered_with_the_nearest_one(toy):
    with pytest.raises(UsageError, match=r"no use case 'TOYY'; did you mean 'TOY'\? installed:.*TOY"):
        load_use_case("TOYY")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import nonexistent_package", "cannot be imported: No module named 'nonexistent_package'"),
        ("raise RuntimeError('broken')", "RuntimeError: broken"),
        ("import sys\nsys.exit(3)", r"it called sys.exit\(3\)"),
        ("def x(:", "SyntaxError"),
        (GOOD + "@hookimpl\ndef mlops_get_stepps(config, context): ...", "did you mean 'mlops_get_steps'"),
        (GOOD + "def mlops_get_steps(config, context): ...", "not marked with @hookimpl"),
        (GOOD + "@hookimpl\ndef mlops_get_steps(konfig, context): ...", "konfig"),
        (GOOD + "del mlops_get_gate", "does not implement the required hook mlops_get_gate"),
    ],
)
def test_a_broken_plugin_is_refused_with_its_cause(install, source, message):
    install("BAD", source)
    with pytest.raises(PluginError, match=message):
        load_use_case("BAD")
    assert load_use_case("TOY").name == "TOY"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("def mlops_get_steps(config, context): return 'steps'", "returned 'steps' .* expected tuple or list"),
        ("def mlops_get_steps(config, context): return [1]", "returned 1 .* expected Step in its sequence"),
        (
            "def mlops_get_steps(config, context): return 1 / 0",
            r"hook mlops_get_steps failed: ZeroDivisionError.*\.py:\d",
        ),
        ("def mlops_get_gate(config, context): return None", "hook mlops_get_gate .* returned None"),
        ("def mlops_get_metrics(config, context): return []", "expected at least one Metric"),
    ],
)
def test_what_a_hook_returns_is_checked_and_named(install, body, message):
    install("BAD", GOOD + "@hookimpl\n" + body)
    loaded = load_use_case("BAD")
    with pytest.raises(PluginError, match=message):
        loaded.pipeline(loaded.config_model()())


def test_a_plugin_may_fetch_its_data_itself(install, tmp_path):
    folder = install(
        "OWN",
        GOOD
        + """
@hookimpl
def mlops_fetch_dataset(dataset, destination, context):
    (destination / "words.csv").write_text("xxxxxxxxx,long\\nx,short")
    return True
""",
    )
    (folder / "user_config.yaml").write_text("dataset:\n  name: words\n")
    record = mlops_core.run("OWN", workspace=tmp_path / "w")
    assert (Path(record.dataset.path) / "words.csv").read_text() == "xxxxxxxxx,long\nx,short"
    assert record.dataset.files == 1


@pytest.mark.parametrize(
    ("report", "message"),
    [
        ("MetricReport(values={'acc': 0.9})", "returned 0.9 (float); expected a MetricValue for 'acc'"),
        (
            "MetricReport(values={}, confusion_matrices={'clips': 3})",
            "returned 3 (int); expected a ConfusionMatrix for 'clips'",
        ),
        (
            "MetricReport(values={}, confusion_matrices={'c': ConfusionMatrix(classes=('a', 'b'), counts=((1, 2),))})",
            "expected a ConfusionMatrix for 'c', with a row and a column a class",
        ),
    ],
)
def test_what_a_metric_hook_returns_is_checked_and_the_hook_is_named(install, report, message):
    install("LOOSE", f"{GOOD}\n@hookimpl\ndef mlops_compute_metrics(predictions, context):\n    return {report}\n")
    use_case = load_use_case("LOOSE")
    with pytest.raises(PluginError) as raised:
        use_case.compute_metrics(Predictions(classes=("long", "short"), rows=()))
    assert message in str(raised.value)
    assert "hook mlops_compute_metrics (" in str(raised.value)


def test_a_duplicate_name_affects_only_the_runs_that_select_it(install):
    install("DOUBLE", GOOD, distribution="mlops-one")
    install("DOUBLE", GOOD, distribution="mlops-two")
    with pytest.raises(PluginError, match="provided by mlops-one 1.0 and mlops-two 1.0"):
        load_use_case("double")
    assert load_use_case("TOY").name == "TOY"
    assert len([use_case for use_case in discover_use_cases() if use_case.name == "DOUBLE"]) == 2


def test_what_a_plugin_prints_does_not_reach_standard_output(install, capsys):
    install("BAD", GOOD + "print('noise' * 1000)")
    load_use_case("BAD")
    assert capsys.readouterr().out == ""


def test_loading_a_use_case_imports_nothing_heavy(toy):
    code = (
        "import sys; from mlops_core.use_cases.manager import load_use_case; load_use_case('TOY');"
        "print({'numpy', 'tensorflow', 'librosa', 'boto3', 'sagemaker'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ("'lines'", r"returned 'lines' \(str\); expected tuple or list"),
        ("['lines']", r"returned 'lines' \(str\); expected PredictionOutput in its sequence"),
        ("[one, one]", "expected distinct names of outputs and options"),
        ("[PredictionOutput(name='a b', help='', formats=('x',), write='a:b')]", "'a b' is not a valid option name"),
        ("[PredictionOutput(name='a', help='', formats=(), write='a:b')]", "output 'a' has no format"),
        ("[PredictionOutput(name='a', help='', formats=('x',), write='a.b')]", "expected 'package.module:function'"),
        ("[replace(one, options=(OutputOption(name='lines', help=''),))]", "expected distinct names"),
    ],
)
def test_declared_outputs_are_checked_and_the_hook_is_named(install, outputs, message):
    body = f"{GOOD}from dataclasses import replace\nfrom mlops_core import OutputOption, PredictionOutput\n@hookimpl\n"
    body += "def mlops_get_prediction_outputs(context):\n"
    body += "    one = PredictionOutput(name='lines', help='', formats=('x',), write='a:b')\n"
    install("BAD", f"{body}    return {outputs}\n")
    with pytest.raises(PluginError, match=message) as raised:
        load_use_case("BAD").prediction_outputs()
    assert "mlops_get_prediction_outputs" in str(raised.value)


def test_a_use_case_without_outputs_has_none(install):
    install("BAD", f"{GOOD}del mlops_get_prediction_outputs\n")
    assert load_use_case("BAD").prediction_outputs() == ()


@pytest.mark.parametrize(
    ("types", "message"),
    [
        ("[wav, wav]", "expected distinct media types"),
        ("['audio/wav']", "expected ContentType in its sequence"),
        ("[ContentType(media_type='Audio/WAV', suffix='.wav')]", "'Audio/WAV' is not a media type"),
        ("[ContentType(media_type='audio/wav', suffix='wav')]", "'wav' is not a suffix of a file"),
        ("[ContentType(media_type='audio/wav', suffix='./../x')]", "is not a suffix of a file"),
    ],
)
def test_declared_content_types_are_checked_and_the_hook_is_named(install, types, message):
    body = f"{GOOD}from mlops_core import ContentType\n@hookimpl\ndef mlops_get_content_types(context):\n"
    body += "    wav = ContentType(media_type='audio/wav', suffix='.wav')\n"
    install("BAD", f"{body}    return {types}\n")
    with pytest.raises(PluginError, match=message) as raised:
        load_use_case("BAD").content_types()
    assert "mlops_get_content_types" in str(raised.value)


def test_a_use_case_without_content_types_takes_any_bytes(toy):
    (only,) = load_use_case(toy).content_types()
    assert (only.media_type, only.suffix, only.has_rows) == ("application/octet-stream", ".bin", False)


def test_an_unknown_home_folder_in_a_path_for_a_hook_is_named(install):
    folder = install(
        "BAD",
        """
        from mlops_toy.plugin import *
        from mlops_toy.plugin import hookimpl
        from pathlib import Path

        @hookimpl
        def mlops_get_dataset_source(config, context):
            return "words", Path("~nosuch/data").expanduser()

        @hookimpl
        def mlops_inspect_dataset(dataset, config, context):
            return dataset.expanduser()
        """,
    )
    (folder / "user_config.yaml").write_text("dataset: {name: words}")
    use_case = load_use_case("BAD")
    config = use_case.load_config().model
    with pytest.raises(DatasetError, match="a path begins with the home folder of a user that is not known"):
        use_case.dataset_source(config)
    with pytest.raises(DatasetError, match="~nosuch/data: the home folder of ~nosuch is not known"):
        use_case.inspect_dataset(Path("~nosuch/data"), config)
