"""The whole use case: small on generated data, and in full on field recordings if they are available."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from mlops_aed.data.synthetic import generate

import mlops_core

SMALL = ("training.steps=60", "training.patience=60", "training.model.filters=[8, 16]")


@pytest.mark.slow_suite
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_small_run_is_repeatable_and_its_model_agrees_with_the_evaluation(tmp_path):
    records = [
        mlops_core.run(
            "AED",
            workspace=tmp_path / name,
            overrides=SMALL,
            parameters={"q_clip_level_acc_threshold": "0.1", "q_patch_level_acc_threshold": "0.1"},
        )
        for name in ("a", "b")
    ]
    assert [str(record.status) for record in records] == ["accepted", "accepted"]
    assert records[0].dataset.is_generated
    assert [step.outputs for step in records[0].steps] == [step.outputs for step in records[1].steps]
    evaluation = json.loads((tmp_path / "a" / "runs" / records[0].run_id / "evaluation.json").read_text())
    assert evaluation["notes"]["clips"] == 80
    log = (tmp_path / "a" / "runs" / records[0].run_id / "logs" / "evaluate.log").read_text()
    assert "Clip-level accuracy on test set : 0." in log
    # In a process of its own: TensorFlow would stay in this one.
    code = (
        "import mlops_core, sys; from pathlib import Path\n"
        f"model = mlops_core.load_model('AED', workspace={str(tmp_path / 'a')!r})\n"
        f"paths = sorted(Path({records[0].dataset.path!r}, 'audio').glob('5-*.wav'))\n"
        "print([model.classes[max(range(10), key=lambda i: answer.scores[i])] for answer in model.predict(paths)])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    matrix = evaluation["confusion_matrices"]["clip"]
    columns = [sum(row[i] for row in matrix["counts"]) for i in range(10)]
    assert [out.count(f"'{name}'") for name in matrix["classes"]] == columns


def test_clips_that_cannot_be_read_are_named_and_counted(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    generate(folder, seed=0, progress=lambda *_: None)
    broken = sorted((folder / "audio").iterdir())[:2]
    for path in broken:
        path.write_bytes(b"nothing")
    record = mlops_core.run("AED", workspace=tmp_path / "w", overrides=[f"dataset.path={folder}"])
    assert record.exit_code == 5
    assert (
        f"2 of 400 clips cannot be used, at most dataset.max_unreadable=0 are left out: {broken[0].name}"
        in record.error
    )


@pytest.mark.real_data
@pytest.mark.timeout(3600)
def test_the_example_from_random_weights_reaches_0_85_on_one_fold_of_esc_10(tmp_path, esc10):
    config = Path(__file__).parents[1] / "examples" / "esc10_from_scratch.yaml"
    record = mlops_core.run("AED", config=config, workspace=tmp_path, overrides=[f"dataset.path={esc10}"])
    evaluation = json.loads((tmp_path / "runs" / record.run_id / "evaluation.json").read_text())
    values = {name: entry["value"] for name, entry in evaluation["multiclass_classification_metrics"].items()}
    print(values, {step.name: round(step.duration_s, 1) for step in record.steps})  # noqa: T201  the figures are what it is run for
    assert values["clip_acc"] >= 0.85
