"""Licences of data and base models: what is known about them, clauses of a gate, and where they are recorded."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_core import (
    ConfigError,
    Direction,
    Gate,
    LicenceClause,
    LicenceSubject,
    Metric,
    MetricReport,
    PipelineError,
    PluginError,
    PretrainedModel,
    Unit,
    hookimpl,
    load_use_case,
    parse_condition,
    prepare_run,
    proportion,
    run,
)
from mlops_core.cli.output import print_licences, print_outcome
from mlops_core.datasets.licences import Licences, is_known_licence, licence_warning, shown_licence
from mlops_core.gates.conditions import condition_from_json, condition_to_json
from mlops_core.report.facts import recorded_licences
from mlops_core.runners.container.request import GateRequest, _gate_from_json, _gate_to_json
from mlops_core.trust.replay import replay_gate
from mlops_core.workspace.registry import Registry
from mlops_core.workspace.store import Store

ACC = Metric(name="acc", section="m", unit=Unit.FRACTION, minimum=0, maximum=1, direction=Direction.HIGHER)
REPORT = MetricReport(values={"acc": proportion(95, 100)})
YAMNET = PretrainedModel(name="YAMNet", licence="Apache-2.0")
OTHER = PretrainedModel(name="other", licence="MIT")


def licences(dataset="CC-BY-4.0", *models):
    return Licences(dataset_name="sounds", dataset=dataset, base_models=models)


def judge(text, found):
    return Gate(parse_condition(text)).evaluate(REPORT, metrics=[ACC], parameters={}, licences=found)


# --- What is known about a licence ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("MIT", ""),
        ("CC-BY-4.0", ""),
        ("GPL-2.0+", ""),
        ("MIT OR Apache-2.0", ""),
        ("(MIT AND CC0-1.0) OR LicenseRef-Own", ""),
        ("CC-BY-NC-3.0", "CC-BY-NC-3.0 forbids commercial use"),
        ("cc-by-nc-sa-4.0", "cc-by-nc-sa-4.0 forbids commercial use"),
        ("PolyForm-Noncommercial-1.0.0", "PolyForm-Noncommercial-1.0.0 forbids commercial use"),
        ("MIT AND CC-BY-NC-4.0", "MIT AND CC-BY-NC-4.0 forbids commercial use"),
        ("NCSA", ""),  # a permissive licence, whatever it begins with
        ("", "its licence is unknown"),
        ("NOASSERTION", "its licence is unknown"),
        ("?", "its licence is unknown"),
        ("free for research", "its licence is unknown: 'free for research' is not an SPDX identifier"),
        ("MIT OR", "its licence is unknown: 'MIT OR' is not an SPDX identifier"),
    ],
)
def test_warning_about_a_licence(text, warning):
    assert licence_warning(text) == warning
    assert is_known_licence(text) is not ("unknown" in warning)
    assert shown_licence(text).startswith("unknown") is ("unknown" in warning)


def test_licences_survive_json_also_without_a_record_of_base_models():
    for found in (licences("MIT", YAMNET), Licences(dataset_name="d", dataset="", base_models=None)):
        assert Licences.from_json(json.loads(json.dumps(found.to_json()))) == found


@pytest.mark.parametrize("values", [{"name": " "}, {"sha256": "abc"}, {"sha256": "A" * 64}])
def test_base_model_without_a_name_or_with_a_bad_digest_is_refused(values):
    with pytest.raises(PipelineError):
        PretrainedModel(**{"name": "m", "licence": "MIT", **values})


# --- Clauses of a gate ------------------------------------------------------------------------------------

names = st.sampled_from(
    ["MIT", "CC-BY-4.0", "GPL-3.0-or-later", "0BSD", "or", "None", "MIT OR Apache-2.0", "L'art", 'a "b"', "GPL-2.0+"]
)
clauses = st.builds(
    LicenceClause,
    subject=st.sampled_from(list(LicenceSubject)),
    licences=st.lists(names, min_size=1, max_size=4).map(tuple),
    is_excluded=st.booleans(),
)


@given(clauses)
def test_licence_clause_survives_its_text_and_json(clause):
    assert parse_condition(str(clause)) == clause
    assert condition_from_json(json.loads(json.dumps(condition_to_json(clause)))) == clause


@pytest.mark.parametrize(
    ("text", "found", "accepted"),
    [
        ("dataset_licence in (CC-BY-4.0, MIT)", licences(), True),
        ("dataset_licence in (cc-by-4.0)", licences("CC-BY-4.0"), True),
        ("dataset_licence in (CC-BY)", licences(), False),  # whole identifiers
        ("dataset_licence in (CC-BY-4.0)", licences("CC-BY-NC-4.0"), False),
        ("dataset_licence not in (CC-BY-NC-4.0)", licences(), True),
        ("dataset_licence not in (CC-BY-4.0)", licences(), False),
        ("dataset_licence in ('MIT OR Apache-2.0')", licences("mit or  apache-2.0"), True),
        ("dataset_licence in (MIT)", licences("MIT OR Apache-2.0"), False),  # nothing is inferred
        ("base_model_licence in (Apache-2.0)", licences(), True),
        ("base_model_licence not in (Apache-2.0)", licences(), True),
        ("base_model_licence in (Apache-2.0)", licences("MIT", YAMNET), True),
        ("base_model_licence in (Apache-2.0)", licences("MIT", YAMNET, OTHER), False),
        ("base_model_licence in (Apache-2.0, MIT)", licences("MIT", YAMNET, OTHER), True),
        ("base_model_licence not in (MIT)", licences("MIT", YAMNET, OTHER), False),
        ("base_model_licence not in (GPL-3.0-or-later)", licences("MIT", YAMNET, OTHER), True),
        ("acc >= 0.9 or dataset_licence in (MIT)", licences(), True),
        ("acc >= 0.99 or dataset_licence in (MIT)", licences(), False),
        ("not dataset_licence in (MIT)", licences(), True),
    ],
)
def test_clause_about_a_licence(text, found, accepted):
    assert judge(text, found).accepted is accepted


@pytest.mark.parametrize(
    "found",
    [
        None,
        licences(""),
        licences("unknown"),
        licences("ask the author"),
        licences("MIT", PretrainedModel(name="weights.h5", licence="")),
        Licences(dataset_name="d", dataset="MIT", base_models=None),
    ],
)
@pytest.mark.parametrize(
    "form", ["{} in (MIT)", "{} not in (GPL-3.0-only)", "acc >= 0.5 or {} in (MIT)", "not {} in (X)"]
)
def test_unknown_licence_rejects_the_model_whatever_surrounds_the_clause(found, form):
    is_of_data = found is None or found.base_models == ()
    verdict = judge(form.format("dataset_licence" if is_of_data else "base_model_licence"), found)
    assert not verdict.accepted
    assert verdict.message.startswith("Execution failed: ")
    assert "licence" in verdict.message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dataset_licence in ()", "the list names no licence"),
        ("dataset_licence in ('')", "'' is not the name of a licence"),
        ("dataset_license in (MIT)", "expected dataset_licence or base_model_licence before 'in'"),
        ("dataset_licence in (1)", ""),
        ("dataset_licence in (MIT, [1 + x])", ""),
        ("dataset_licence == MIT", "expected >=, >, <= or <"),
        ("0 < dataset_licence in (MIT)", "expected"),
        ("dataset_licence in (MIT", "is not an expression"),
    ],
)
def test_malformed_licence_clause_is_refused(text, message):
    if text == "dataset_licence in (1)":
        assert parse_condition(text).licences == ("1",)  # may be an identifier: the list of SPDX is not kept here
        return
    with pytest.raises(PipelineError) as refused:
        parse_condition(text)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("text", "found", "message"),
    [
        ("acc >= 0.5 and dataset_licence in (MIT)", licences(), "data set 'sounds' has the licence CC-BY-4.0"),
        ("not dataset_licence in (CC-BY-4.0)", licences(), "not dataset_licence in (CC-BY-4.0), but"),
        ("base_model_licence in (MIT)", licences("MIT", YAMNET), "base model 'YAMNet' has the licence Apache-2.0"),
        ("acc >= 0.5 or dataset_licence in (MIT)", licences(""), "the licence of data set 'sounds' is unknown"),
    ],
)
def test_licence_that_no_model_can_have_is_refused_before_a_run(text, found, message):
    with pytest.raises(PipelineError) as refused:
        Gate(parse_condition(text)).check(metrics=[ACC], parameters={}, licences=found)
    assert "no model can be accepted" in str(refused.value)
    assert message in str(refused.value)


@pytest.mark.parametrize("text", ["acc >= 0.5 or dataset_licence in (MIT)", "dataset_licence in (CC-BY-4.0)"])
def test_gate_that_the_licences_leave_possible_is_not_refused(text):
    Gate(parse_condition(text)).check(metrics=[ACC], parameters={}, licences=licences())


def test_licences_reach_a_container_only_for_a_gate_that_asks():
    asks = Gate(parse_condition("dataset_licence in (CC-BY-4.0)"))
    request = GateRequest(gate=asks, parameters=(), licences=licences("CC-BY-4.0", YAMNET))
    assert _gate_from_json(json.loads(json.dumps(_gate_to_json(request)))) == request
    plain = GateRequest(gate=Gate(parse_condition("acc >= 0.5")), parameters=(), licences=licences())
    assert "licences" not in _gate_to_json(plain)  # other licences would mean another step for an engine's cache


# --- Configuration, runs and the registry -----------------------------------------------------------------


def test_run_registers_the_licences_and_its_gate_reads_them(toy, workspace):
    record = run("TOY", overrides=["gate.condition=default and dataset_licence in (CC0-1.0)"], workspace=workspace)
    assert record.verdict.accepted
    assert any("CC0-1.0" in clause.reason for clause in record.verdict.clauses)
    expected = Licences(dataset_name="words", dataset="CC0-1.0")
    assert recorded_licences(record) == expected
    with Store(workspace) as store:
        assert Registry(store).version("TOY").licences == expected


def test_configured_licence_that_the_data_does_not_have_is_refused_by_key(toy):
    with pytest.raises(ConfigError) as refused:
        prepare_run("TOY", overrides=["gate.condition=default and dataset_licence in (MIT)"])
    assert str(refused.value) == (
        "gate.condition: no model can be accepted: dataset_licence in (MIT), "
        "but data set 'words' has the licence CC0-1.0"
    )


def test_licence_of_the_users_own_data_is_unknown_until_it_is_declared(toy, tmp_path, workspace):
    condition = "gate.condition=default and dataset_licence in (MIT)"
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "words.csv").write_text("word,label\na,b\n")
    own = f"dataset.path={tmp_path / 'data'}"
    with pytest.raises(ConfigError, match=r"the licence of data set 'words' is unknown \(.*gate.dataset_licence\)"):
        prepare_run("TOY", overrides=[own, condition])
    request = prepare_run("TOY", overrides=[own, condition, "gate.dataset_licence=MIT"])
    assert request.pipeline.licences.dataset == "MIT"
    record = run("TOY", overrides=[own, "gate.dataset_licence=MIT"], workspace=workspace)
    assert record.dataset.licence == "MIT"


def test_licence_of_a_catalogue_entry_cannot_be_declared_anew(toy):
    with pytest.raises(ConfigError, match="comes from the catalogue, which says 'CC0-1.0'"):
        prepare_run("TOY", overrides=["gate.dataset_licence=MIT"])


def test_replay_of_an_old_run_takes_the_licence_of_the_data_from_its_record(ran, workspace):
    record = ran
    path = workspace / "runs" / record.run_id / "run.json"
    data = json.loads(path.read_text())
    del data["pipeline"]["licences"]
    path.write_text(json.dumps(data))
    with Store(workspace) as store:

        def replayed(text):
            (found,) = replay_gate(store, "TOY", text, compute=load_use_case("TOY").compute_metrics)
            return found.verdict

        assert replayed("default and dataset_licence in (CC0-1.0)").accepted
        assert not replayed("default and dataset_licence in (MIT)").accepted
        assert "has no record" in replayed("default and base_model_licence in (MIT)").message


def test_licences_are_printed_with_a_warning_for_each_that_restricts_the_use(capsys):
    print_licences(licences("CC-BY-NC-3.0", YAMNET, PretrainedModel(name="w.h5", licence="")))
    assert capsys.readouterr().out.splitlines() == [
        "licences: data set 'sounds': CC-BY-NC-3.0; base model 'YAMNet': Apache-2.0; base model 'w.h5': unknown",
        "warning: data set 'sounds': CC-BY-NC-3.0 forbids commercial use",
        "warning: base model 'w.h5': its licence is unknown",
    ]
    print_licences(licences("MIT", YAMNET))
    assert "warning" not in capsys.readouterr().out


def test_base_models_of_a_plugin_are_recorded_without_passwords_and_with_distinct_names(toy, monkeypatch):
    import mlops_toy.plugin

    models = [PretrainedModel(name="m", licence="MIT", source="https://me:secret@example.org/m")]
    monkeypatch.setattr(
        mlops_toy.plugin, "mlops_get_base_models", hookimpl(lambda config, context: models), raising=False
    )
    assert prepare_run("TOY").pipeline.licences.base_models[0].source == "https://<redacted>@example.org/m"
    models.append(models[0])
    with pytest.raises(PluginError, match="expected distinct names"):
        prepare_run("TOY")
    models[:] = ["YAMNet"]
    with pytest.raises(PluginError, match="expected PretrainedModel in its sequence"):
        prepare_run("TOY")


def test_registration_shows_the_licences(ran, workspace, capsys):
    record = ran
    capsys.readouterr()
    print_outcome(record, approval="")
    assert "licences: data set 'words': CC0-1.0\n" in capsys.readouterr().out
