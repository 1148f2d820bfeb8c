"""Many steps in a report: those that need attention one by one, the others in groups."""

from dataclasses import replace

from mlops_core.report import write_report
from mlops_core.report.sections.step_groups import group_steps
from mlops_core.workspace.records import StepRecord, StepStatus
from mlops_core.workspace.store import Store


def step(name, status=StepStatus.DONE, **fields):
    return StepRecord(name=name, status=status, duration_s=1.0, **fields)


def test_steps_with_similar_names_and_the_same_end_are_a_group():
    steps = [step(f"fold-{n}-train", because="never executed") for n in range(300)]
    steps += [step(f"fold-{n}-train", StepStatus.REUSED) for n in range(300, 310)]
    steps[7] = step("fold-7-train", StepStatus.FAILED, error="boom")
    steps[9] = step("fold-9-train", warning="odd")
    alone, groups = group_steps(steps)
    assert [one.name for one in alone] == ["fold-7-train", "fold-9-train"]
    assert [(group.name, group.status, len(group.steps)) for group in groups] == [
        ("fold-*-train", StepStatus.DONE, 298),
        ("fold-*-train", StepStatus.REUSED, 10),
    ]
    assert groups[0].duration_s == 298
    assert groups[0].reason == "never executed"
    assert groups[0].listing().splitlines()[7] == "fold-8-train  1.0 s"


def test_no_step_is_lost_however_different_the_names_are():
    names = [chr(97 + n // 676) + chr(97 + n // 26 % 26) + chr(97 + n % 26) for n in range(500)]
    alone, groups = group_steps(
        [step(name, StepStatus.FAILED if n < 80 else StepStatus.DONE) for n, name in enumerate(names)]
    )
    assert len(alone) == 50
    assert len(groups) <= 102
    assert sorted([one.name for one in alone] + [one.name for group in groups for one in group.steps]) == sorted(names)


def test_the_report_of_five_thousand_steps_is_small_and_names_each_of_them(ran, workspace):
    record = ran
    base = record.step("preprocess")
    steps = tuple(replace(base, name=f"work-{number:04d}-of-many") for number in range(5000))
    with Store(workspace) as store:
        store.runs.save(replace(record, steps=(*record.steps, *steps)))
        page = write_report(store, record.run_id).read_text()
        assert store.runs.load(record.run_id).steps[-1] == steps[-1]
    assert len(page) < 1_000_000
    assert all(f"{one.name}  " in page for one in steps)
    assert page.count('class="step-name"') < 10
