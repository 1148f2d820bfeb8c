"""A sound job, and changes that each make one fault of it: (name, change, part of the expected path and problem).

`SDK_FINDS` and `SDK_MISSES` name 24 faults with which the validation of azure-ai-ml 1.35.2 was tried. No import but the
standard library's: the contract test with azure-ai-ml reads this file in an environment of its own.
"""

import copy


def sound():
    """Return a job without faults: commands, an optional input, a table, a model, a sweep, a registered output."""
    return copy.deepcopy(_SOUND)


def _command(name, inputs, outputs, command, **more):
    return {
        "type": "command",
        "name": name,
        "is_deterministic": True,
        "inputs": inputs,
        "outputs": outputs,
        "environment": {"image": "registry.azurecr.io/mlops:1"},
        "command": command,
        **more,
    }


_SOUND = {
    "$schema": "https://azuremlschemas.azureedge.net/latest/pipelineJob.schema.json",
    "type": "pipeline",
    "display_name": "sound",
    "experiment_name": "sound",
    "tags": {"team": "audio"},
    "settings": {
        "default_compute": "azureml:cpu-cluster",
        "default_datastore": "azureml:workspaceblobstore",
        "continue_on_step_failure": False,
        "force_rerun": False,
    },
    "inputs": {
        "data": {
            "type": "uri_folder",
            "path": "azureml://datastores/workspaceblobstore/paths/data/",
            "mode": "ro_mount",
        },
        "rate": 0.5,
        "seed": 3,
    },
    "outputs": {"model": {"type": "uri_folder", "mode": "upload"}},
    "jobs": {
        "prepare": {
            "type": "command",
            "component": _command(
                "prepare",
                {
                    "data": {"type": "uri_folder"},
                    "rate": {"type": "number", "min": 0, "max": 1},
                    "note": {"type": "string", "optional": True},
                },
                {"table": {"type": "mltable"}},
                "python run.py ${{inputs.data}} ${{inputs.rate}} $[[--note ${{inputs.note}}]] ${{outputs.table}}",
            ),
            "inputs": {
                "data": {"path": "${{parent.inputs.data}}", "mode": "download"},
                "rate": "${{parent.inputs.rate}}",
            },
            "outputs": {"table": {"type": "mltable", "mode": "upload", "name": "prepared"}},
            "limits": {"timeout": 600},
            "environment_variables": {"LEVEL": "info"},
        },
        "train": {
            "type": "sweep",
            "trial": _command(
                "train",
                {
                    "table": {"type": "mltable"},
                    "trial": {"type": "integer"},
                    "seed": {"type": "integer"},
                },
                {"model": {"type": "uri_folder"}},
                "python train.py ${{inputs.table}} ${{inputs.trial}} ${{inputs.seed}} ${{outputs.model}}",
                is_deterministic=False,
            ),
            "inputs": {"table": {"path": "${{parent.jobs.prepare.outputs.table}}"}, "seed": "${{parent.inputs.seed}}"},
            "outputs": {"model": {"type": "uri_folder", "mode": "upload"}},
            "sampling_algorithm": "grid",
            "search_space": {"trial": {"type": "choice", "values": [0, 1, 2, 3]}},
            "objective": {"primary_metric": "accuracy", "goal": "maximize"},
            "limits": {"max_total_trials": 4, "max_concurrent_trials": 2, "timeout": 3600, "trial_timeout": 600},
            "compute": "azureml:gpu-cluster",
        },
        "evaluate": {
            "type": "command",
            "component": _command(
                "evaluate",
                {"model": {"type": "uri_folder"}},
                {"result": {"type": "uri_folder"}},
                "python evaluate.py ${{inputs.model}} ${{outputs.result}}",
            ),
            "inputs": {"model": {"path": "${{parent.jobs.train.outputs.model}}", "mode": "ro_mount"}},
            "outputs": {"result": "${{parent.outputs.model}}"},
            "resources": {"instance_type": "Standard_D4s_v3", "instance_count": 1, "shm_size": "2g"},
            "identity": {"type": "managed"},
            "distribution": {"type": "pytorch", "process_count_per_instance": 1},
        },
    },
}


def put(path, value):
    def change(data):
        *parents, last = path.split("/")
        for part in parents:
            data = data[part]
        data[last] = value

    return change


def drop(path):
    def change(data):
        *parents, last = path.split("/")
        for part in parents:
            data = data[part]
        del data[last]

    return change


def rename(path, new):
    def change(data):
        *parents, last = path.split("/")
        for part in parents:
            data = data[part]
        items = [(new if key == last else key, value) for key, value in data.items()]
        data.clear()
        data.update(items)

    return change


P, T, E = "jobs/prepare", "jobs/train", "jobs/evaluate"
_UNIFORM = {"trial": {"type": "uniform", "min_value": 0, "max_value": 3}}
_CYCLE_COMMAND = "python run.py ${{inputs.data}} ${{inputs.rate}} ${{inputs.late}} ${{outputs.table}}"


def cycle(data):
    data["jobs"]["prepare"]["component"]["inputs"]["late"] = {"type": "uri_folder"}
    data["jobs"]["prepare"]["component"]["command"] = _CYCLE_COMMAND
    data["jobs"]["prepare"]["inputs"]["late"] = {"path": "${{parent.jobs.evaluate.outputs.result}}"}


def mltable_to_model(data):
    data["jobs"]["evaluate"]["component"]["inputs"]["model"]["type"] = "mlflow_model"
    data["jobs"]["evaluate"]["inputs"]["model"]["path"] = "${{parent.jobs.prepare.outputs.table}}"


def no_compute(data):
    del data["settings"]["default_compute"]


def bayesian_loguniform(data):
    data["jobs"]["train"]["sampling_algorithm"] = "bayesian"
    data["jobs"]["train"]["search_space"] = {"trial": {"type": "loguniform", "min_value": 2, "max_value": 3}}


SDK_FINDS = {
    "unknown top key": (put("colour", "red"), "colour: unknown key 'colour'"),
    "unknown node type": (put(f"{P}/type", "comand"), "jobs.prepare.type: unknown type of a node 'comand'"),
    "unknown mode": (put("inputs/data/mode", "mount"), "inputs.data.mode: unknown mode 'mount'"),
    "unknown output type": (
        put(f"{P}/component/outputs/table/type", "folder"),
        "jobs.prepare.component.outputs.table.type: unknown type 'folder'",
    ),
    "unknown goal": (put(f"{T}/objective/goal", "max"), "jobs.train.objective.goal: unknown goal 'max'"),
    "unknown distribution": (
        put(f"{T}/search_space/trial/type", "choise"),
        "jobs.train.search_space.trial.type: unknown distribution 'choise'",
    ),
    "if_else": (put(E, {"type": "if_else", "condition": True}), "jobs.evaluate.type: 'if_else' is not public"),
    "missing environment": (drop(f"{P}/component/environment"), "jobs.prepare.component: lacks 'environment'"),
    "missing code": (put(f"{P}/component/code", "./src"), "jobs.prepare.component.code: there is nothing at './src'"),
    "missing compute": (no_compute, "jobs.prepare: has no compute"),
    "missing required input": (drop(f"{P}/inputs/rate"), "jobs.prepare.inputs: lacks the required input 'rate'"),
    "bad node name": (rename(f"{E}", "Evaluate-it"), "'Evaluate-it' is not a valid name of a node"),
}
SDK_MISSES = {
    # The first four: where the component is inline, as here.
    "primitive output": (
        put(f"{E}/component/outputs/result/type", "string"),
        "jobs.evaluate.component.outputs.result.type: an output of type 'string' is not supported",
    ),
    "binding to no node": (
        put(f"{E}/inputs/model/path", "${{parent.jobs.trian.outputs.model}}"),
        "jobs.evaluate.inputs.model: unknown node 'trian'; did you mean 'train'",
    ),
    "binding to no output": (
        put(f"{E}/inputs/model/path", "${{parent.jobs.train.outputs.modle}}"),
        "jobs.evaluate.inputs.model: unknown output of node 'train' 'modle'; did you mean 'model'",
    ),
    "binding to no input of the job": (
        put(f"{P}/inputs/rate", "${{parent.inputs.rates}}"),
        "jobs.prepare.inputs.rate: unknown input of the job 'rates'; did you mean 'rate'",
    ),
    "unknown key in settings": (
        put("settings/default_computer", "azureml:x"),
        "settings.default_computer: unknown key",
    ),
    "unknown key in a node": (put(f"{P}/timeout", 60), "jobs.prepare.timeout: unknown key 'timeout'"),
    "command reads no input": (
        put(f"{P}/component/command", "python run.py ${{inputs.dat}} ${{inputs.rate}} ${{outputs.table}}"),
        "jobs.prepare.component.command: unknown input in ${{inputs.dat}}: 'dat'; did you mean 'data'",
    ),
    "cycle": (cycle, "jobs: the nodes form a cycle: "),
    "mltable bound to a model": (
        mltable_to_model,
        "jobs.evaluate.inputs.model: a mltable is bound to an input of type",
    ),
    "concurrent above total": (
        put(f"{T}/limits/max_concurrent_trials", 9),
        "jobs.train.limits.max_concurrent_trials: 9 is more than max_total_trials 4",
    ),
    "grid with uniform": (
        put(f"{T}/search_space", _UNIFORM),
        "jobs.train.search_space.trial.type: grid does not take uni",
    ),
    "bayesian with loguniform": (bayesian_loguniform, "search_space.trial.type: bayesian does not take loguniform"),
}
OTHERS = {
    "no jobs": (put("jobs", {}), "jobs: is a mapping; expected at least one node"),
    "jobs is a list": (put("jobs", []), "jobs: is a list; expected at least one node"),
    "node is a text": (put(E, "evaluate.yml"), "jobs.evaluate: is 'evaluate.yml'; expected a mapping"),
    "other type of job": (put("type", "command"), "type: is 'command'; expected pipeline"),
    "upper case node": (
        rename(E, "Evaluate"),
        "jobs.Evaluate: 'Evaluate' is not a valid name of a node; use lower-case",
    ),
    "digit first": (rename(E, "1st"), "'1st' is not a valid name of a node"),
    "node name too long": (rename(E, "n" * 256), "the name of the node is longer than 255 characters"),
    "reserved input": (put("inputs/path", "x"), "inputs.path: 'path' is a reserved name; rename it"),
    "reserved port": (
        put(f"{P}/component/inputs/HOME", {"type": "string"}),
        "component.inputs.HOME: 'HOME' is a reserved",
    ),
    "hyphen in an input": (put("inputs/my-rate", 1), "inputs.'my-rate': 'my-rate' is not a valid name"),
    "hyphen in a component": (
        put(f"{P}/component/name", "prepare-data"),
        "jobs.prepare.component.name: 'prepare-data' is not a valid name of a component",
    ),
    "bad experiment": (
        put("experiment_name", "my experiment!"),
        "experiment_name: 'my experiment!' is not a valid name",
    ),
    "bad job name": (put("name", "a/b"), "name: 'a/b' is not a valid name"),
    "flag as text": (put("settings/force_rerun", "yes"), "settings.force_rerun: is 'yes'; expected true or false"),
    "compute without prefix": (
        put(f"{T}/compute", "gpu-cluster"),
        "jobs.train.compute: is 'gpu-cluster'; expected azureml",
    ),
    "default compute without prefix": (
        put("settings/default_compute", "cpu-cluster"),
        "settings.default_compute: is 'cpu-cluster'; expected azureml:NAME",
    ),
    "datastore without prefix": (
        put("settings/default_datastore", "blob"),
        "settings.default_datastore: 'blob' is not a reference",
    ),
    "tags are a list": (put("tags", ["a"]), "tags: is a list; expected a mapping of texts"),
    "unknown type of an input": (put("inputs/data/type", "folder"), "inputs.data.type: unknown type 'folder'"),
    "input without a type": (drop("inputs/data/type"), "inputs.data: lacks 'type'; set inputs.data.type"),
    "data without a path": (drop("inputs/data/path"), "inputs.data: lacks 'path'; set inputs.data.path"),
    "input is empty": (put("inputs/seed", None), "inputs.seed: is empty; expected a value"),
    "asset without a version": (
        put("inputs/data/path", "azureml:words"),
        "inputs.data.path: 'azureml:words' is not an address of data",
    ),
    "unknown key of an input": (put("inputs/data/pth", "x"), "inputs.data.pth: unknown key 'pth'; did you mean 'path'"),
    "value with a mode": (
        put("inputs/rate", {"type": "number", "value": 1, "mode": "direct"}),
        "inputs.rate.mode: an input of type 'number' has no mode",
    ),
    "unknown input mode of a node": (
        put(f"{P}/inputs/data/mode", "upload"),
        "jobs.prepare.inputs.data.mode: unknown mode 'upload'",
    ),
    "unknown output mode": (
        put(f"{T}/outputs/model/mode", "ro_mount"),
        "jobs.train.outputs.model.mode: unknown mode 'ro_mount'",
    ),
    "version without a name": (
        put(f"{T}/outputs/model/version", "1"),
        "jobs.train.outputs.model.version: is set without 'name'",
    ),
    "bad name of an asset": (
        put(f"{P}/outputs/table/name", "my data"),
        "jobs.prepare.outputs.table.name: 'my data' is not a valid name",
    ),
    "output of another type": (
        put(f"{T}/outputs/model/type", "mlflow_model"),
        "jobs.train.outputs.model: has type mlflow_model, the component uri_folder",
    ),
    "unknown output of a node": (
        put(f"{T}/outputs/modl", {"type": "uri_folder"}),
        "jobs.train.outputs.modl: unknown output 'modl'; did you mean 'model'",
    ),
    "unknown input of a node": (
        put(f"{P}/inputs/datta", "x"),
        "jobs.prepare.inputs.datta: unknown input 'datta'; did you mean 'data'",
    ),
    "expression in a path": (
        put(f"{T}/outputs/model/path", "azureml://datastores/x/paths/${{run}}/"),
        "jobs.train.outputs.model.path: unknown expression of an output's path 'run'",
    ),
    "output bound to no output": (
        put(f"{E}/outputs/result", "${{parent.outputs.modl}}"),
        "jobs.evaluate.outputs.result: unknown output of the job 'modl'; did you mean 'model'",
    ),
    "output bound to an input": (
        put(f"{E}/outputs/result", "${{parent.inputs.data}}"),
        "jobs.evaluate.outputs.result: '${{parent.inputs.data}}' is not a binding of an output",
    ),
    "part of a value": (
        put(f"{P}/inputs/data/path", "x/${{parent.inputs.data}}"),
        "jobs.prepare.inputs.data: ${{parent.inputs.data}} is only a part of the value",
    ),
    "no binding": (
        put(f"{P}/inputs/rate", "${{inputs.rate}}"),
        "jobs.prepare.inputs.rate: '${{inputs.rate}}' is not a binding",
    ),
    "bound to itself": (
        put(f"{E}/inputs/model/path", "${{parent.jobs.evaluate.outputs.result}}"),
        "jobs.evaluate.inputs.model: the node is bound to itself",
    ),
    "number bound to a folder": (
        put(f"{P}/inputs/data/path", "${{parent.inputs.rate}}"),
        "jobs.prepare.inputs.data: a number is bound to an input of type uri_folder",
    ),
    "folder bound to a number": (
        put(f"{P}/inputs/rate", "${{parent.inputs.data}}"),
        "jobs.prepare.inputs.rate: a uri_folder is bound to an input of type number",
    ),
    "fraction bound to a whole number": (
        put(f"{T}/inputs/seed", "${{parent.inputs.rate}}"),
        "jobs.train.inputs.seed: a number is bound to an input of type integer",
    ),
    "text for a number": (
        put(f"{P}/inputs/rate", "much"),
        "jobs.prepare.inputs.rate: is 'much'; expected a value of type",
    ),
    "fraction for a whole number": (
        put(f"{T}/inputs/seed", 0.5),
        "jobs.train.inputs.seed: is 0.5; expected a value of",
    ),
    "above max": (put(f"{P}/inputs/rate", 2), "jobs.prepare.inputs.rate: 2 is above max: 1"),
    "below min": (put(f"{P}/inputs/rate", -1), "jobs.prepare.inputs.rate: -1 is below min: 0"),
    "number for a folder": (
        put(f"{P}/inputs/data", 5),
        "jobs.prepare.inputs.data: is 5, a value; expected data of type",
    ),
    "component without a command": (drop(f"{P}/component/command"), "jobs.prepare.component: lacks 'command'"),
    "empty command": (put(f"{P}/component/command", "  "), "jobs.prepare.component.command: is empty"),
    "node without a component": (drop(f"{P}/component"), "jobs.prepare: lacks 'command'"),
    "command beside a component": (
        put(f"{P}/command", "python x.py"),
        "jobs.prepare.command: is set beside 'component'",
    ),
    "deterministic node": (
        put(f"{P}/is_deterministic", False),
        "jobs.prepare.is_deterministic: belongs to the component",
    ),
    "unknown key of a component": (
        put(f"{P}/component/enviroment", "x"),
        "jobs.prepare.component.enviroment: unknown key 'enviroment'; did you mean 'environment'",
    ),
    "unknown type of a port": (
        put(f"{P}/component/inputs/data/type", "path"),
        "jobs.prepare.component.inputs.data.type: unknown type 'path'",
    ),
    "port without a type": (
        drop(f"{P}/component/inputs/rate/type"),
        "jobs.prepare.component.inputs.rate: lacks 'type'",
    ),
    "limits of a text": (
        put(f"{P}/component/inputs/note/min", 1),
        "jobs.prepare.component.inputs.note.min: an input of type 'string' has no limits",
    ),
    "default of another type": (
        put(f"{P}/component/inputs/rate/default", "x"),
        "jobs.prepare.component.inputs.rate.default: is 'x'; expected a value of type number",
    ),
    "reference without a version": (
        put(f"{P}/component", "azureml:prepare"),
        "jobs.prepare.component: 'azureml:prepare' is not a reference",
    ),
    "environment without a version": (
        put(f"{P}/component/environment", "azureml:mlops"),
        "jobs.prepare.component.environment: 'azureml:mlops' has no version",
    ),
    "environment without an image": (
        put(f"{P}/component/environment", {"conda_file": "conda.yml"}),
        "jobs.prepare.component.environment: has neither an image nor a build",
    ),
    "environment with both": (
        put(f"{P}/component/environment", {"image": "a:1", "build": {"path": "."}}),
        "jobs.prepare.component.environment: has an image and a build",
    ),
    "unknown key of an environment": (
        put(f"{P}/component/environment", {"image": "a:1", "imge": "b"}),
        "jobs.prepare.component.environment.imge: unknown key 'imge'",
    ),
    "timeout is a text": (
        put(f"{P}/limits/timeout", "1h"),
        "jobs.prepare.limits.timeout: is '1h'; expected a whole num",
    ),
    "timeout of zero": (
        put(f"{P}/limits/timeout", 0),
        "jobs.prepare.limits.timeout: is 0; expected a whole number above",
    ),
    "unknown limit": (put(f"{P}/limits/trial_timeout", 5), "jobs.prepare.limits.trial_timeout: unknown key"),
    "variables are a list": (
        put(f"{P}/environment_variables", ["A=b"]),
        "jobs.prepare.environment_variables: is a list; expected a mapping of texts",
    ),
    "unknown resource": (put(f"{E}/resources/gpus", 1), "jobs.evaluate.resources.gpus: unknown key 'gpus'"),
    "no instances": (put(f"{E}/resources/instance_count", 0), "jobs.evaluate.resources.instance_count: is 0; expected"),
    "shared memory without a unit": (
        put(f"{E}/resources/shm_size", "2000"),
        "jobs.evaluate.resources.shm_size: '2000' is not a size",
    ),
    "unknown identity": (
        put(f"{E}/identity/type", "service_principal"),
        "jobs.evaluate.identity.type: unknown type of identity 'service_principal'",
    ),
    "unknown kind of distribution": (
        put(f"{E}/distribution/type", "horovod"),
        "jobs.evaluate.distribution.type: unknown type of distribution 'horovod'",
    ),
    "unknown key of a distribution": (
        put(f"{E}/distribution/processes", 2),
        "jobs.evaluate.distribution.processes: unknown key 'processes'",
    ),
    "expression that is not closed": (
        put(f"{E}/component/command", "python x.py ${{inputs.model ${{outputs.result}}"),
        "jobs.evaluate.component.command: '${{inputs.model",
    ),
    "expression of the job in a command": (
        put(f"{E}/component/command", "python x.py ${{parent.inputs.data}} ${{inputs.model}} ${{outputs.result}}"),
        "jobs.evaluate.component.command: ${{parent.inputs.data}} does not belong in a command",
    ),
    "line end": (
        put(f"{E}/component/command", "python x.py \\\n ${{inputs.model}} ${{outputs.result}}"),
        "jobs.evaluate.component.command: a line ends with '\\'",
    ),
    "optional input that is always read": (
        put(f"{P}/component/command", "python x ${{inputs.data}} ${{inputs.rate}} ${{inputs.note}} ${{outputs.table}}"),
        "jobs.prepare.component.command: ${{inputs.note}} is optional, and the command always reads it",
    ),
    "unknown output in a command": (
        put(f"{E}/component/command", "python x.py ${{inputs.model}} ${{outputs.results}}"),
        "jobs.evaluate.component.command: unknown output in ${{outputs.results}}: 'results'; did you mean 'result'",
    ),
    "sweep without an objective": (drop(f"{T}/objective"), "jobs.train: lacks 'objective'"),
    "sweep without limits": (drop(f"{T}/limits"), "jobs.train: lacks 'limits'"),
    "sweep without a total": (drop(f"{T}/limits/max_total_trials"), "jobs.train.limits: lacks 'max_total_trials'"),
    "sweep without a trial": (drop(f"{T}/trial"), "jobs.train: lacks 'trial'"),
    "sweep without a sampler": (drop(f"{T}/sampling_algorithm"), "jobs.train: lacks 'sampling_algorithm'"),
    "sweep with variables": (
        put(f"{T}/environment_variables", {"A": "b"}),
        "jobs.train.environment_variables: unknown key",
    ),
    "unknown sampler": (
        put(f"{T}/sampling_algorithm", "sobol"),
        "jobs.train.sampling_algorithm: unknown sampling algorithm 'sobol'",
    ),
    "unknown rule": (
        put(f"{T}/sampling_algorithm", {"type": "random", "rule": "halton"}),
        "jobs.train.sampling_algorithm.rule: unknown rule 'halton'",
    ),
    "seed of a grid": (
        put(f"{T}/sampling_algorithm", {"type": "grid", "seed": 1}),
        "jobs.train.sampling_algorithm.seed: unknown key of grid 'seed'",
    ),
    "objective without a metric": (
        drop(f"{T}/objective/primary_metric"),
        "jobs.train.objective: lacks 'primary_metric'",
    ),
    "empty space": (put(f"{T}/search_space", {}), "jobs.train.search_space: is empty"),
    "distribution is a list": (put(f"{T}/search_space/trial", [0, 1]), "jobs.train.search_space.trial: is a list"),
    "choice without values": (drop(f"{T}/search_space/trial/values"), "jobs.train.search_space.trial: lacks 'values'"),
    "choice of nothing": (put(f"{T}/search_space/trial/values", []), "search_space.trial.values: is a list; expected"),
    "key of another distribution": (
        put(f"{T}/search_space/trial/min_value", 1),
        "jobs.train.search_space.trial.min_value: unknown key of choice 'min_value'",
    ),
    "range upside down": (
        put(f"{T}/search_space/trial", {"type": "uniform", "min_value": 3, "max_value": 1}),
        "jobs.train.search_space.trial.max_value: 1 is not above min_value 3",
    ),
    "step of zero": (
        put(f"{T}/search_space/trial", {"type": "quniform", "min_value": 1, "max_value": 3, "q": 0}),
        "jobs.train.search_space.trial.q: is 0; expected a number above 0",
    ),
    "bound is a text": (
        put(f"{T}/search_space/trial", {"type": "uniform", "min_value": "1", "max_value": 3}),
        "jobs.train.search_space.trial.min_value: is '1'; expected a number",
    ),
    "parameter that the trial lacks": (
        put(f"{T}/search_space/rate", {"type": "choice", "values": [1]}),
        "jobs.train.search_space.rate: unknown input of the trial 'rate'",
    ),
    "parameter that is set": (put(f"{T}/inputs/trial", 1), "jobs.train.search_space.trial: is also set in inputs"),
    "too many trials": (
        put(f"{T}/limits/max_total_trials", 1001),
        "jobs.train.limits.max_total_trials: is 1001; expected",
    ),
    "unknown policy": (
        put(f"{T}/early_termination", {"type": "hyperband"}),
        "jobs.train.early_termination.type: unknown early termination 'hyperband'",
    ),
    "bandit without slack": (
        put(f"{T}/early_termination", {"type": "bandit"}),
        "jobs.train.early_termination: needs slack_factor or slack_amount",
    ),
    "truncation of everything": (
        put(f"{T}/early_termination", {"type": "truncation_selection", "truncation_percentage": 100}),
        "jobs.train.early_termination.truncation_percentage: is 100; expected 1 to 99",
    ),
}
ALL = {**SDK_FINDS, **SDK_MISSES, **OTHERS}
