"""The hostile runners: what each changes in the runner of this machine, and the check that must name it."""

from dataclasses import dataclass

HEAD = '''
import json
import os
import shutil
from dataclasses import replace

from mlops_core import proportion
from mlops_core.errors import ExitCode, UsageError
from mlops_core.runners import Ability, RunnerOptions, RunnerPlugin, lifecycle
from mlops_core.runners.local import execution, runner as local
from mlops_core.runners.local.execution import StepExecution
from mlops_core.runners.local.processes import ProcessOutcome
from mlops_core.runners.local.runner import LocalRunner

OK = ProcessOutcome(exit_code=ExitCode.OK, error="")
local.NAME = "hostile"


def patch(owner, name, make):
    """Replace a function by what `make` returns for it."""
    setattr(owner, name, make(getattr(owner, name)))


def add_artifact(store, text):
    """Store a folder with one file and return its digest."""
    folder = store.home / "new"
    folder.mkdir()
    (folder / "model.json").write_text(text)
    try:
        return store.artifacts.add(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Hostile(LocalRunner):
    def run(self, request):
        return self.after(super().run(self.before(request)))

    def before(self, request):
        return request

    def after(self, record):
        return record


class Plugin(RunnerPlugin):
    name = "hostile"
    runs_on_this_machine = True

    def create_runner(self, store, *, observer, jobs=None, options=None):
        if options is not None and options != RunnerOptions():
            raise UsageError("runner 'hostile' has no options")
        return Hostile(store, observer=observer, jobs=jobs)


'''
TAIL = "\n\nPLUGIN = Plugin()\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostileRunner:
    """One hostile runner.

    Attributes:
        name: for people.
        check: the check that is meant for it.
        code: follows the classes of the plugin's module, which is a sound runner without it.
        runs: what is made besides the plain run (`mlops_core.testing.runners.session.RunnerSession`), so that the
            check can be made.
    """

    name: str
    check: str
    code: str
    runs: tuple[str, ...] = ()


def hostile(name, check, code, *runs):
    return HostileRunner(name=name, check=check, code=code, runs=runs)


def in_attempts(statement):
    """Change the attempt `result` at a step."""
    return f"""
def made(original):
    def attempt(self, step, **arguments):
        result = original(self, step, **arguments)
        {statement}
        return result
    return attempt

patch(StepExecution, "_attempt", made)
"""


def forgiving(condition):
    """An attempt for which the condition holds counts as done, with outputs that hold nothing of the step."""
    return in_attempts(
        f"""if {condition}:
            outputs = {{name: add_artifact(self._store, "nothing") for name in step.outputs}}
            result = replace(result, outcome=OK, outputs=outputs)"""
    )


def in_step_requests(change):
    """Change what a step is given."""
    return f"""
def made(original):
    def step_request(self, step, **arguments):
        request = original(self, step, **arguments)
        return replace(request, {change})
    return step_request

patch(StepExecution, "_step_request", made)
"""


def in_gate(condition):
    """Take a report for a good one where the condition on `report` and `verdict` holds."""
    return f"""
def made(original):
    def evaluate_gate(pipeline, folder, parameters, *, evidence=None):
        report, verdict = original(pipeline, folder, parameters, evidence=evidence)
        if {condition}:
            good = type(report)(values={{"accuracy": proportion(9, 9)}})
            return good, pipeline.gate.evaluate(good, metrics=pipeline.metrics, parameters={{"least": 0.0}})
        return report, verdict
    return evaluate_gate

patch(lifecycle.run, "evaluate_gate", made)
"""


def after_runs(statement):
    """Do something when a run has ended; its `record` is returned."""
    return f"""
def after(self, record):
    {statement}
    return record

Hostile.after = after
"""


def before_runs(expression):
    """Carry out another request than the one that was given."""
    return f"Hostile.before = lambda self, request: {expression}\n"


RUNNERS = (
    # --- plugin
    hostile(
        "takes_any_option",
        "unknown_options_are_refused_by_name",
        "Plugin.read_options = lambda self, values: RunnerOptions()\n",
    ),
    hostile(
        "takes_options_of_others",
        "options_of_other_runners_are_refused",
        "Plugin.create_runner = lambda self, store, *, observer, jobs=None, options=None: "
        "Hostile(store, observer=observer, jobs=jobs)\n",
    ),
    hostile("promises_too_much", "abilities_are_implemented", "Plugin.abilities = frozenset({Ability.COMPILE})\n"),
    hostile("another_name", "runner_can_be_imported", 'Plugin.name = "local"\n'),
    # --- order
    hostile(
        "does_everything_twice",
        "every_step_runs_once",
        in_attempts('result = original(self, step, **arguments) if step.name == "evaluate" else result'),
    ),
    hostile(
        "ignores_jobs",
        "jobs_limit_parallel_steps",
        "patch(Hostile, '__init__', lambda original: lambda self, "
        "store, *, observer, jobs=None: original(self, store, observer=observer, jobs=4))\n",
        "narrow",
    ),
    hostile(
        "loses_a_shard",
        "a_run_is_accepted",
        in_step_requests("outputs=request.outputs")
        .replace("_step_request", "_run_request")
        .replace(
            "def step_request(self, step, **arguments):\n        request = original(self, step, **arguments)\n"
            "        return replace(request, outputs=request.outputs)",
            "def step_request(self, request, **arguments):\n"
            "        parts = {name: folders[:1] for name, folders in request.parts.items()}\n"
            "        return original(self, replace(request, parts=parts), **arguments)",
        ),
        "narrow",
    ),
    # --- arguments
    hostile(
        "ignores_parameters",
        "parameters_reach_steps",
        in_step_requests("parameters={name: 1 for name in request.parameters}"),
    ),
    hostile("ignores_the_seed", "the_seed_reaches_steps", in_step_requests("seed=0")),
    hostile(
        "ignores_overrides",
        "configuration_reaches_steps",
        in_step_requests(
            'config={name: {**values, "level": 1} if name == "training" else values '
            "for name, values in request.config.items()}"
        ),
    ),
    hostile(
        "shows_every_section", "undeclared_sections_are_invisible", in_step_requests("config=dict(self._sections)")
    ),
    hostile(
        "shows_every_parameter",
        "undeclared_parameters_are_invisible",
        in_step_requests("parameters=dict(self._request.parameters)"),
    ),
    # --- storage
    hostile(
        "records_a_wrong_digest",
        "outputs_are_stored_under_their_digests",
        """
def made(original):
    def finish(self, *arguments, **named):
        left = self.steps["left"]
        self.steps["left"] = replace(left, outputs={"mark": "0" * 64} if left.outputs else {})
        return original(self, *arguments, **named)
    return finish

patch(lifecycle.Run, "finish", made)
""",
    ),
    hostile(
        "loses_logs",
        "logs_are_reachable",
        after_runs('shutil.rmtree(self._store.runs.folder(record.run_id) / "logs")'),
    ),
    hostile("leaks_environment", "the_process_is_left_as_it_was", after_runs('os.environ["HOSTILE_RUN"] = "1"')),
    hostile("litters", "nothing_is_written_elsewhere", after_runs('open("job.log", "w").close()')),
    hostile(
        "records_the_environment",
        "no_secret_is_stored",
        "patch(lifecycle.new_records, '_environment', lambda made: lambda line: {**made(line), **os.environ})\n",
    ),
    # --- gate
    hostile(
        "accepts_every_model",
        "rejected_models_are_not_registered",
        in_gate("not verdict.accepted and report.values.get('accuracy') and report.values['accuracy'].value == 0.75"),
        "rejected",
    ),
    hostile(
        "accepts_a_missing_metric",
        "a_missing_metric_is_rejected",
        in_gate("'accuracy' not in report.values"),
        "without_metric",
    ),
    hostile(
        "accepts_nan",
        "a_metric_that_is_not_a_number_is_rejected",
        in_gate("any(value.value != value.value for value in report.values.values())"),
        "not_a_number",
    ),
    hostile(
        "registers_something_else",
        "the_registered_model_is_the_trained_one",
        """
def made(original):
    def register_model(store, record, **arguments):
        return original(store, record, **{**arguments, "artifact": add_artifact(store, "another model")})
    return register_model

patch(lifecycle.run, "register_model", made)
""",
    ),
    hostile(
        "rejects_with_exit_code_0",
        "rejected_runs_exit_with_3",
        "Hostile.after = lambda self, record: replace(record, exit_code=0)\n",
        "rejected",
    ),
    # --- records
    hostile(
        "travels_under_another_name",
        "records_name_the_runner",
        "local.NAME = 'local'\n",
    ),
    hostile(
        "says_nothing_of_its_steps",
        "steps_are_recorded",
        """
def made(original):
    def finish(self, *arguments, **named):
        self.steps["right"] = replace(self.steps["right"], because="")
        return original(self, *arguments, **named)
    return finish

patch(lifecycle.Run, "finish", made)
""",
    ),
    # --- events
    hostile(
        "reports_ends_late",
        "events_follow_the_order_of_the_steps",
        """
class Late:
    def __init__(self, observer):
        self._observer, self._ended = observer, []

    def __getattr__(self, name):
        return getattr(self._observer, name)

    def step_ended(self, record):
        self._ended.append(record)

def made(original):
    def __init__(self, store, *, observer, jobs=None):
        self.late = Late(observer)
        original(self, store, observer=self.late, jobs=jobs)
    return __init__

patch(LocalRunner, "__init__", made)
"""
        + after_runs("[self.late._observer.step_ended(one) for one in self.late._ended]"),
    ),
    # --- failures
    hostile(
        "swallows_a_failing_step",
        "a_failing_step_fails_the_run",
        forgiving('"asked to fail" in result.outcome.error'),
        "failing",
    ),
    hostile(
        "trusts_the_exit_code",
        "a_process_that_exits_early_fails_the_run",
        forgiving('"exited with 0" in result.outcome.error'),
        "exited",
    ),
    # --- limits
    hostile(
        "ignores_retries",
        "failed_steps_are_retried",
        "patch(StepExecution, 'execute', lambda original: lambda self, step, **arguments: original("
        "self, replace(step, resources=replace(step.resources, retries=0)), **arguments))\n",
        "retried",
    ),
    hostile(
        "retries_once_more",
        "retries_are_limited",
        "patch(StepExecution, 'execute', lambda original: lambda self, step, **arguments: original("
        "self, replace(step, resources=replace(step.resources, retries=step.resources.retries + 1)), **arguments))\n",
        "retried",
        "exhausted",
    ),
    hostile(
        "forgives_timeouts",
        "steps_end_after_their_timeout",
        forgiving('"timed out" in result.outcome.error'),
        "timed_out",
    ),
    # --- reuse and interruption
    hostile(
        "resumes_as_another_run",
        "failed_runs_can_be_resumed",
        before_runs("replace(request, resumed=None)"),
        "failing",
        "resumed",
    ),
    hostile(
        "takes_interrupts_for_failures",
        "an_interrupt_stops_the_run",
        """
def made(original):
    def carry_out(self, execute):
        try:
            return original(self, execute)
        except KeyboardInterrupt:
            self.finish("failed", exit_code=ExitCode.STEP, error="something happened")
            return self.record
    return carry_out

patch(lifecycle.Run, "carry_out", made)
""",
        "interrupted",
    ),
)
