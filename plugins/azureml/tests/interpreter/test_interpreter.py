"""The interpreter: expressions, datastores, modes, failures, time limits, reuse, assets, jobs written by people."""

import sys
import threading

import pytest
from mlops_azureml.container import NodeArguments, NodeLayout
from mlops_azureml.interpreter.containers import ProcessContainers
from mlops_azureml.interpreter.datastores import FolderDatastores
from mlops_azureml.interpreter.document import parse_job
from mlops_azureml.interpreter.execution import JobExecution, Surroundings
from mlops_azureml.interpreter.expressions import command_line
from mlops_azureml.values.mlflow import log_trial, read_metric

from mlops_core.runners import DefinitionError, RunnerError

STORE = "azureml://datastores/store/paths"


def node(command, *, inputs=None, outputs=(), bound=None, **more):
    component = {
        "type": "command",
        "environment": {"image": "i:1"},
        "command": command,
        "inputs": inputs or {},
        "outputs": {name: {"type": "uri_folder"} for name in outputs},
    }
    return {"type": "command", "component": component, "inputs": bound or {}, "outputs": {}, **more}


def job(inputs=None, *, continues=False, **nodes):
    settings = {"default_datastore": "azureml:store", "continue_on_step_failure": continues}
    return {"type": "pipeline", "settings": settings, "inputs": inputs or {}, "jobs": nodes}


def execute(tmp_path, data, *, name="job", **more):
    execution = JobExecution(
        parse_job(data),
        name=name,
        surroundings=Surroundings(
            datastores=FolderDatastores(tmp_path / "datastores"),
            containers=ProcessContainers(),
            folder=tmp_path / "jobs" / name,
            results=tmp_path / "results",
        ),
        **more,
    )
    return execution.carry_out()


def text(tmp_path, record, name, port="out"):
    return FolderDatastores(tmp_path / "datastores").path(record.nodes[name].outputs[port]).joinpath("f").read_text()


def test_job_of_a_person_is_executed_with_its_modes_literals_and_optional_parts(tmp_path):
    data = FolderDatastores(tmp_path / "datastores").path(f"{STORE}/data/")
    data.mkdir(parents=True)
    (data / "f").write_text("hello")
    command = "cat ${{inputs.data}}/f > ${{outputs.out}}/f && "
    command += 'echo "${{inputs.word}}" $[[--n ${{inputs.n}}]] >> ${{outputs.out}}/f'
    inputs = {"data": {"type": "uri_folder"}, "word": {"type": "string"}, "n": {"type": "integer", "optional": True}}
    first = node(
        command,
        inputs=inputs,
        outputs=["out"],
        bound={"data": {"path": "${{parent.inputs.data}}", "mode": "download"}, "word": "${{parent.inputs.word}}"},
    )
    second = node(
        "echo ${{inputs.folder}} > ${{outputs.out}}/f",
        inputs={"folder": {"type": "uri_folder"}},
        outputs=["out"],
        bound={"folder": {"path": "${{parent.jobs.first.outputs.out}}", "mode": "direct"}},
    )
    declared = {"data": {"type": "uri_folder", "path": f"{STORE}/data/"}, "word": "a b"}
    record = execute(tmp_path, job(declared, first=first, second=second), values={"word": "c d"})
    assert str(record.status) == "Completed"
    assert text(tmp_path, record, "first") == "helloc d\n"
    assert text(tmp_path, record, "second").strip() == record.nodes["first"].outputs["out"]


def test_failed_node_is_named_with_its_last_words_and_nothing_behind_it_starts(tmp_path):
    bad = node("echo oops; exit 7", outputs=["out"])
    after = node(
        "true", inputs={"x": {"type": "uri_folder"}}, bound={"x": {"path": "${{parent.jobs.bad.outputs.out}}"}}
    )
    record = execute(tmp_path, job(bad=bad, after=after))
    assert (str(record.status), record.nodes["bad"].exit_code) == ("Failed", 7)
    assert record.nodes["bad"].error == "its container wrote no message; last line of its log: oops"
    assert record.failed.name == "bad"
    assert str(record.nodes["after"].status) == "NotStarted"


def test_node_is_ended_by_its_limit_and_by_a_stop(tmp_path):
    slow = node("sleep 600", limits={"timeout": 1})
    record = execute(tmp_path, job(slow=slow))
    assert record.nodes["slow"].error == "limits.timeout: the node ran longer than 1 s"
    execution = JobExecution(
        parse_job(job(slow=node("sleep 600"))),
        name="stopped",
        surroundings=Surroundings(
            datastores=FolderDatastores(tmp_path / "datastores"),
            containers=ProcessContainers(),
            folder=tmp_path / "jobs" / "stopped",
            results=tmp_path / "results",
            on_node=lambda state: threading.Thread(target=execution.stop).start(),
        ),
    )
    record = execution.carry_out()
    assert (str(record.status), str(record.nodes["slow"].status)) == ("Canceled", "Canceled")


def test_deterministic_nodes_are_reused_by_component_and_addresses(tmp_path):
    def data(word, **component):
        made = node(f"echo {word} > ${{{{outputs.out}}}}/f", outputs=["out"])
        made["component"].update(component)
        return job(made=made)

    first = execute(tmp_path, data("a"), name="one")
    again = execute(tmp_path, data("a", description="other text"), name="two")
    assert again.nodes["made"].reused_from == "one"
    assert again.nodes["made"].outputs == first.nodes["made"].outputs
    assert execute(tmp_path, data("b"), name="three").nodes["made"].reused_from == ""
    assert execute(tmp_path, data("c", is_deterministic=False), name="four").nodes["made"].reused_from == ""
    assert execute(tmp_path, data("c", is_deterministic=False), name="five").nodes["made"].reused_from == ""


def test_named_output_becomes_a_version_of_a_data_asset(tmp_path):
    made = node("echo a > ${{outputs.out}}/f", outputs=["out"])
    made["outputs"] = {"out": {"type": "uri_folder", "name": "words", "version": "abc"}}
    execute(tmp_path, job(made=made))
    assert (tmp_path / "data" / "words" / "abc.json").is_file()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"type": "command"}, "not a pipeline job"),
        (
            {"jobs": {"a": {"type": "parallel"}}},
            "jobs.a: type 'parallel' is not executed here; expected command or sweep",
        ),
        (
            {"jobs": {"a": {"type": "command", "component": "azureml:a:1"}}},
            "jobs.a: expected an inline command component",
        ),
        (
            {"jobs": {"split": node("true", bound={"x": "${{parent.jobs.splitt.outputs.o}}"})}},
            "jobs.split.inputs.x: no node 'splitt'; did you mean 'split'",
        ),
        (
            {"jobs": {"a": node("true", bound={"x": "${{parent.inputs.o}}"})}},
            "jobs.a.inputs.x: the job has no input 'o'",
        ),
        ({"jobs": {"a": node("true", bound={"x": "${{name}}"})}}, "jobs.a.inputs.x: ${{name}} is not executed here"),
    ],
)
def test_what_is_not_executed_here_is_refused_by_name(change, expected):
    with pytest.raises(DefinitionError) as raised:
        parse_job({**job(a=node("true")), **change})
    assert expected in str(raised.value)


@pytest.mark.parametrize(
    "address", [f"{STORE}/../../x", f"{STORE}/a/%2e%2e/%2e%2e/x", "https://x/y", "azureml:words:1"]
)
def test_address_never_leads_out_of_its_datastore(tmp_path, address):
    with pytest.raises(DefinitionError):
        FolderDatastores(tmp_path).path(address)


def test_long_form_of_an_address_is_the_same_place(tmp_path):
    stores = FolderDatastores(tmp_path)
    long = "azureml://subscriptions/s/resourcegroups/g/workspaces/w/datastores/store/paths/a/b"
    assert stores.path(long) == stores.path(f"{STORE}/a/b/") == tmp_path / "store" / "a" / "b"


def test_unknown_expression_in_a_command_is_refused():
    with pytest.raises(DefinitionError, match=r"n: the command reads \$\{\{inputs.dta\}\}.*; did you mean 'data'"):
        command_line("x ${{inputs.dta}}", inputs={"data": "1"}, outputs={}, where="n")
    with pytest.raises(DefinitionError, match=r"n: \$\{\{name\}\} in the command is not an expression of a component"):
        command_line("x ${{name}}", inputs={}, outputs={}, where="n")


def test_images_and_labels_are_put_together_and_files_that_are_appended_are_seen(tmp_path):
    for name in ("images", "labels"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "sub" / "1.txt").write_text(name)
    (tmp_path / "images" / "2.txt").write_text("appended")
    texts = [f"--input=data/{name}={tmp_path / name}" for name in ("images", "labels")]
    layout = NodeLayout(node=NodeArguments.parse(texts), work=tmp_path / "work")
    folder = layout.input("data")
    found = {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert found == {"images/sub/1.txt": "images", "labels/sub/1.txt": "labels", "images/2.txt": "appended"}


def test_objective_is_logged_where_the_environment_says(tmp_path):
    environ = {"MLFLOW_TRACKING_URI": (tmp_path / "ml flow").as_uri(), "MLFLOW_RUN_ID": "run"}
    log_trial(metric="acc", value=0.1 + 0.2, parameters={"rate": 0.5}, environ=environ)
    assert read_metric(tmp_path / "ml flow", "run", "acc") == 0.1 + 0.2
    assert read_metric(tmp_path / "ml flow", "run", "other") is None
    with pytest.raises(RunnerError, match="MLFLOW_RUN_ID is not set, as it is in a job"):
        log_trial(metric="acc", value=1.0, parameters={}, environ={"MLFLOW_TRACKING_URI": "file:///x"})


def test_commands_get_few_variables_of_the_user_and_this_python(tmp_path, environ):
    environ.setenv("SECRET_TOKEN", "hunter2")
    code = "import os, sys; print(sorted(os.environ), sys.executable)"
    record = execute(tmp_path, job(a=node(f'python3 -c "{code}" > ${{{{outputs.out}}}}/f', outputs=["out"])))
    shown = text(tmp_path, record, "a")
    assert "SECRET_TOKEN" not in shown
    assert "AZUREML_RUN_ID" in shown
    assert shown.strip().endswith(sys.executable)


def test_linked_folders_of_a_data_set_are_placed_as_the_digest_covers_them(tmp_path):
    folder, datastores = tmp_path / "words", FolderDatastores(tmp_path / "datastores")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.csv").write_text("a")
    folder.mkdir()
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "around").symlink_to(folder)
    datastores.place(folder, f"{STORE}/words")
    placed = datastores.path(f"{STORE}/words")
    assert [path.relative_to(placed).as_posix() for path in sorted(placed.rglob("*"))] == ["linked", "linked/a.csv"]


def test_files_that_somebody_may_edit_are_copied_and_earlier_links_to_them_are_replaced(tmp_path):
    folder, datastores = tmp_path / "words", FolderDatastores(tmp_path / "home" / "datastores")
    folder.mkdir()
    (folder / "a.csv").write_text("right")
    placed = datastores.path(f"{STORE}/words") / "a.csv"
    datastores.place(folder, f"{STORE}/words")  # as before files were copied
    assert placed.stat().st_nlink == 2
    datastores.place(folder, f"{STORE}/words", own=tmp_path / "home")
    (folder / "a.csv").write_text("wrong")
    datastores.place(folder, f"{STORE}/words", own=tmp_path / "home")
    assert placed.read_text() == "right"


def test_files_of_the_workspace_are_linked(tmp_path):
    folder, datastores = tmp_path / "home" / "words", FolderDatastores(tmp_path / "home" / "datastores")
    folder.mkdir(parents=True)
    (folder / "a.csv").write_text("a")
    datastores.place(folder, f"{STORE}/words", own=tmp_path / "home")
    assert (datastores.path(f"{STORE}/words") / "a.csv").stat().st_nlink == 2
