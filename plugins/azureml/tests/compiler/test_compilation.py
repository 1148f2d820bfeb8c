"""The emitter: equal bytes, names that the service takes, a gate that nothing can pass by, reuse, computes, assets."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import yaml
from mlops_azureml.checking import examine_job
from mlops_azureml.compiler.commands import decoded
from mlops_azureml.compiler.job import compile_pipeline
from mlops_azureml.compiler.yaml_text import to_yaml
from mlops_azureml.layout import asset_name, node_name, port_name
from mlops_azureml.settings import load_settings

from mlops_core import api
from mlops_core.errors import ConfigError, PipelineError
from mlops_core.pipeline import Parameter, ParameterType, Resources

DIGEST = "d" * 64


def compiled(*overrides, settings=(), environ=None, change=None, **options):
    request = api.prepare_run("TOY", overrides=overrides, parameters=options.pop("parameters", None))
    request = change(request) if change else request
    return compile_pipeline(request, load_settings(overrides=settings, environ=environ), **options)


def changed_steps(**changes):
    """Return a function that changes steps of a request by name."""

    def change(request):
        steps = tuple(replace(step, **changes.get(step.name, {})) for step in request.pipeline.steps)
        return replace(request, pipeline=replace(request.pipeline, steps=steps))

    return change


def request_in(command):
    (text,) = [part for part in command.split('"') if part.startswith("--request64=")]
    return decoded(text.removeprefix("--request64="))


def test_two_compilations_in_processes_with_other_hash_seeds_give_equal_bytes(toy, tmp_path):
    code = "from mlops_core.cli import main; main()"
    command = [sys.executable, "-c", code, "compile", "-u", "TOY", "--runner", "azureml", "--image", "r.io/mlops:1"]
    texts = []
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        texts.append(done.stdout)
    assert texts[0] == texts[1]
    assert yaml.safe_load(texts[0])["jobs"]["train"]["component"]["environment"] == {"image": "r.io/mlops:1"}


@pytest.mark.parametrize(
    "value",
    [
        {"a": "", "b": " x", "c": "yes", "d": "1.0", "e": "1e3", "f": "null", "g": "~", "h": "a: b", "i": "#x"},
        {"a": 1e-07, "b": -0.0, "c": 1e22, "d": True, "e": None, "f": 123456789012345678901},
        {"a": [], "b": {}, "c": [[1, 2], {"x": [{"y": "z"}]}, []], "d": "ä\n\t\"\\'\x7f\u2028\U0001f600"},
        {"on": 1, "${{parent.inputs.x}}": "${{parent.jobs.a.outputs.b}}", "-": "- x", "2026-11-29": "2026-11-29"},
        {"long": "x" * 500 + " " + "y" * 500, "colon": "azureml:a:1", "at": "@x", "pct": "%x", "end": "x:"},
    ],
)
def test_yaml_text_is_read_back_as_it_was(value):
    text = to_yaml(value)
    assert yaml.safe_load(text) == value
    assert json.dumps(yaml.safe_load(text)) == json.dumps(value)


def test_gate_fails_the_job_and_only_its_output_is_registered(toy):
    job = compiled().data
    assert job["settings"]["continue_on_step_failure"] is False
    gate, register, tag = (job["jobs"][name] for name in ("gate", "register_model", "tag_model"))
    assert [node["component"]["is_deterministic"] for node in (gate, register, tag)] == [False, False, False]
    assert gate["inputs"]["model"]["path"] == "${{parent.jobs.train.outputs.model}}"
    assert gate["inputs"]["parameter_q_acc"] == "${{parent.inputs.q_acc}}"
    assert register["inputs"]["model_input_path"] == {
        "path": "${{parent.jobs.gate.outputs.accepted}}",
        "mode": "direct",
    }
    assert tag["inputs"]["model_metadata_path"]["path"].startswith("${{parent.jobs.register_model.outputs.")
    request = request_in(gate["component"]["command"])
    assert request["gate"]["gate"] == api.prepare_run("TOY").pipeline.gate.to_json()
    driver = compiled(settings=["workspace.registration=driver"]).data
    assert "gate" in driver["jobs"]
    assert not {"register_model", "tag_model"} & driver["jobs"].keys()


def test_shards_are_nodes_and_a_merge(toy):
    jobs = compiled("features.scale=3").data["jobs"]
    shards = [f"preprocess_shard_{index}" for index in range(3)]
    assert set(shards) < jobs.keys()
    merge = jobs["preprocess"]
    bound = {port: value["path"] for port, value in merge["inputs"].items() if "_part_" in port}
    assert bound == {
        f"features_part_{index}": f"${{{{parent.jobs.preprocess_shard_{index}.outputs.features}}}}"
        for index in range(3)
    }
    assert '"--shard=1/3"' in jobs["preprocess_shard_1"]["component"]["command"]
    assert '"--input=features.parts/0002=${{inputs.features_part_2}}/0002"' in merge["component"]["command"]


def test_results_are_reused_only_where_the_bytes_behind_the_addresses_are_known(toy):
    def flags(**options):
        jobs = compiled(**options).data["jobs"]
        return [jobs[name]["component"]["is_deterministic"] for name in ("preprocess", "train", "evaluate")]

    assert flags() == [False, True, True]
    assert flags(dataset_digest=DIGEST) == [True, True, True]
    assert flags(dataset_digest=DIGEST, settings=["steps.train.reuse=false"]) == [True, False, True]
    assert flags(dataset_digest=DIGEST, settings=["workspace.reuse=false"]) == [False, False, False]
    mounted = ["data.images=azureml://datastores/a/paths/i/", "data.labels=azureml://datastores/a/paths/l/"]
    assert flags(dataset_digest=DIGEST, settings=mounted) == [False, True, True]
    assert compiled(dataset_digest=DIGEST, force=True).data["settings"]["force_rerun"] is True


def test_data_in_the_datastore_are_mounted_and_named_by_the_variables_of_existing_projects(toy):
    environ = {
        "INPUT_IMAGE_DATA_PATH": "azureml://datastores/workspaceblobstore/paths/data/images",
        "INPUT_LABEL_DATA_PATH": "azureml:labels@latest",
        "PIPELINE_CPU_COMPUTE_NAME": "small",
        "TRAINING_GPU_COMPUTE_NAME": "big",
        "MODEL_BASE_NAME": "pid_object_detection_model",
        "DATA_STORE_NAME": "other_store",
        "BUILD_ID": "17",
        "BUILD_SOURCE": "pipelines",
        "MLOPS_STEP_IMAGE": "r.azurecr.io/mlops:1",
    }
    change = changed_steps(train={"resources": Resources(gpus=1)})
    job = compiled(environ=environ, change=change, settings=["computes.cpu=tiny"]).data
    assert {name: job["inputs"][name]["path"] for name in ("input_image_data_path", "input_label_data_path")} == {
        "input_image_data_path": environ["INPUT_IMAGE_DATA_PATH"],
        "input_label_data_path": "azureml:labels@latest",
    }
    assert job["inputs"]["input_image_data_path"]["mode"] == "ro_mount"
    assert "dataset" not in job["inputs"]
    assert (job["inputs"]["model_base_name"], job["inputs"]["build_id"]) == ("pid_object_detection_model", "17")
    assert job["settings"]["default_datastore"] == "azureml:other_store"
    assert job["jobs"]["preprocess"]["compute"] == "azureml:tiny"  # a setting beats a variable
    assert job["jobs"]["train"]["compute"] == "azureml:big"
    assert job["jobs"]["train"]["component"]["environment"] == {"image": "r.azurecr.io/mlops:1"}
    command = job["jobs"]["preprocess"]["component"]["command"]
    assert "/images=${{inputs." in command
    assert "/labels=${{inputs." in command
    assert examine_job(job).faults == ()


def test_resources_become_computes_sizes_and_limits(toy):
    needs = Resources(cpus=8, memory_gb=60, timeout_s=100.5, retries=2)
    settings = ["steps.train.compute=serverless", "computes.shm_gb=4", "steps.evaluate.timeout_s=50"]
    jobs = compiled(change=changed_steps(train={"resources": needs}), settings=settings).data["jobs"]
    assert jobs["train"]["compute"] == "azureml:serverless"
    assert jobs["train"]["resources"] == {
        "instance_type": "Standard_E8as_v4",
        "instance_count": 1,
        "shm_size": "4g",
    }
    assert jobs["train"]["limits"] == {"timeout": 302 + 900}
    assert request_in(jobs["train"]["component"]["command"])["step"]["resources"]["retries"] == 2
    assert jobs["evaluate"]["limits"] == {"timeout": 50 + 900}
    too_large = changed_steps(train={"resources": Resources(cpus=500)})
    with pytest.raises(PipelineError, match="step 'train' needs 500 CPUs"):
        compiled(change=too_large, settings=["steps.train.compute=serverless"])


def test_outputs_become_data_assets_with_a_version_that_follows_from_their_content(toy):
    settings = ["steps.preprocess.assets={features: toy-features}"]

    def output(*overrides, **options):
        return compiled(*overrides, settings=settings, **options).data["jobs"]["preprocess"]["outputs"]["features"]

    first, again = output(dataset_digest=DIGEST), output(dataset_digest=DIGEST)
    assert (
        first == again == {"type": "uri_folder", "mode": "upload", "name": "toy-features", "version": first["version"]}
    )
    assert output(dataset_digest="e" * 64)["version"] != first["version"]
    assert output("training.bias=1", dataset_digest=DIGEST)["version"] == first["version"]  # another step's section
    assert "version" not in output()  # nothing is known about the content: the service counts
    with pytest.raises(ConfigError, match="steps.preprocess.assets: unknown output 'feature'; did you mean 'features'"):
        compiled(settings=["steps.preprocess.assets={feature: x}"])


def test_names_are_mapped_to_those_that_the_service_takes(toy):
    assert [node_name("train-int8"), port_name("split-report"), port_name("path")] == [
        "train_int8",
        "split_report",
        "path_",
    ]
    assert asset_name("AED (two)") == "AED-two"


def renamed(old, new):
    def change(request):
        text = json.dumps(request.pipeline.to_json()).replace(f'"{old}"', f'"{new}"').replace(f"{old}.", f"{new}.")
        return replace(request, pipeline=type(request.pipeline).from_json(json.loads(text)))

    return change


def with_parameter(name, value="x"):
    def change(request):
        parameter = Parameter(name=name, type=ParameterType.STRING, default=value)
        pipeline = replace(request.pipeline, parameters=(*request.pipeline.parameters, parameter))
        return replace(request, pipeline=pipeline, parameters={**request.parameters, name: value})

    return change


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (renamed("train", "tag-model"), "step 'tag-model': its node would be called 'tag_model'"),
        (with_parameter("path"), "parameter 'path' has a name that a job keeps for itself"),
        (with_parameter("Home"), "parameter 'Home' has a name that a job keeps for itself"),
        (with_parameter("seed"), "parameter 'seed' has a name that a job keeps for itself"),
        (with_parameter("Q_acc"), "parameters 'q_acc' and 'Q_acc' differ by case only"),
        (with_parameter("word", 'a"b'), "parameter word: 'a\"b' contains '\"', which a shell reads as something else"),
        (with_parameter("word", "$HOME"), "parameter word: '$HOME' contains '$'"),
        (with_parameter("word", "a\nb"), "parameter word: 'a\\\\nb' contains"),
    ],
)
def test_names_and_values_that_the_service_cannot_take_are_refused_in_one_line(toy, change, expected):
    with pytest.raises((PipelineError, ConfigError)) as raised:
        compiled(change=change)
    assert expected.replace("\\\\", "\\") in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("workspace.subscription_id=mine", "workspace.subscription_id"),
        ("workspace.image=https://r.io/x", "not the address of an image"),
        ("workspace.environment=mlops", "expected azureml:NAME:VERSION"),
        ("workspace.datastore=My-Store", "lower-case letters, digits and '_'"),
        ("workspace.model_name=my model", "workspace.model_name"),
        ("workspace.prefix=../x", "not a path below a datastore"),
        ("computes.cpu=Cpu_Cluster", "computes.cpu"),
        ("data.images=azureml:x:1", "images and labels must be set together"),
        ("steps.trian.reuse=false", "steps.trian: unknown step; did you mean 'train'"),
        ("workspace.registration=nobody", "workspace.registration"),
    ],
)
def test_settings_that_azure_would_refuse_are_named_with_their_key(toy, setting, expected):
    with pytest.raises(ConfigError) as raised:
        compiled(settings=[setting])
    assert expected in str(raised.value)


def test_secrets_never_reach_a_job(toy, environ):
    with pytest.raises(ConfigError, match="everybody in the workspace can read a job"):
        compiled(settings=["steps.train.environment={API_TOKEN: abc}"])
    environ.setenv("DB_PASSWORD", "hunter2hunter2")
    with pytest.raises(ConfigError, match="contains the value of the environment variable DB_PASSWORD"):
        compiled(settings=["workspace.tags={note: hunter2hunter2}"])
