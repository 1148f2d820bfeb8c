"""What azure-ai-ml makes of jobs: run by the Python that has it; prints JSON. ``sdk_checks.py FOLDER``.

FOLDER holds the jobs that we emit (``*.yml``). For each of them and for each seeded fault: whether the SDK loads and
validates it, and its body on the wire for those that we emit.
"""

import importlib.util
import json
import os
import sys
import tempfile
import warnings
from pathlib import Path

os.environ["AZUREML_SDKV2_TELEMETRY_OPTOUT"] = "true"
warnings.simplefilter("ignore")

import yaml  # noqa: E402
from azure.ai.ml import load_job  # noqa: E402

_spec = importlib.util.spec_from_file_location(
    "mutations", Path(__file__).parent / "shared" / "azureml_tests" / "mutations.py"
)
mutations = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(mutations)


def verdict(path):
    """Return "" where the SDK finds nothing, else the first words of what it says."""
    try:
        job = load_job(path)
        result = job._validate()
        if result.passed:
            job._to_rest_object()
    except BaseException as error:  # noqa: BLE001  any refusal counts
        return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
    return "" if result.passed else " ".join(str(result.error_messages).split())[:160]


def body(path):
    job = load_job(path)
    return json.loads(json.dumps(job._to_rest_object().as_dict(), default=str))


def main():
    found = {"emitted": {}, "bodies": {}, "faults": {}}
    for path in sorted(Path(sys.argv[1]).glob("*.yml")):
        found["emitted"][path.name] = verdict(path)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "job.yml"
        path.write_text(yaml.safe_dump(mutations.sound(), sort_keys=False))
        found["sound"] = verdict(path)
        for name, (change, _) in mutations.ALL.items():
            data = mutations.sound()
            change(data)
            path.write_text(yaml.safe_dump(data, sort_keys=False))
            found["faults"][name] = verdict(path)
    print("RESULT", json.dumps(found))  # noqa: T201


main()
