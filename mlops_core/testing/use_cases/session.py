"""The session of one use case: everything that the checks examine, made once, and the outcome of each check.

Expensive things (the fetched data, an observed execution, a run on a runner) are made when the first check asks for
them and shared by all others. A thing that could not be made raises the same error to each check that needs it.
"""

from __future__ import annotations

import contextlib
import importlib
import shutil
from typing import TYPE_CHECKING, Any

from mlops_core.errors import ContractError
from mlops_core.integrity import CoreWatch, described_changes
from mlops_core.pipeline import DATASET
from mlops_core.testing.checks import NotApplicableError
from mlops_core.testing.examination import Examination
from mlops_core.testing.observation.execution import Execution, Surrounding
from mlops_core.testing.observation.guard import guarded
from mlops_core.testing.observation.processes import Call
from mlops_core.testing.observation.source_code import foreign_distributions
from mlops_core.testing.outcomes import Outcome, Status
from mlops_core.testing.products import Product
from mlops_core.testing.use_cases.registry import all_checks

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from mlops_core.config_files.loaded import LoadedConfig
    from mlops_core.evaluation.metrics import MetricReport
    from mlops_core.gates.evidence import GateEvidence
    from mlops_core.pipeline import Pipeline, Step
    from mlops_core.predictions import Predictions
    from mlops_core.runners.request import RunRequest
    from mlops_core.testing.checks import Check
    from mlops_core.testing.observation.execution import Trace
    from mlops_core.testing.observation.processes import Answer, Caller
    from mlops_core.testing.runners.installed import RunnerOutcome
    from mlops_core.testing.use_cases.declaration import ContractDeclaration
    from mlops_core.use_cases.discovery import InstalledUseCase
    from mlops_core.use_cases.manager import UseCase


_ACTIONS = {
    "plugin:describe": "loading or describing the use case",
    "plugin:fetch": "fetching the data set",
    "hooks:call_each": "a hook",
    "steps:execute": "a step",
    "predictor:ask": "the predictor",
    "predictor:ask_about_bad_files": "the predictor",
    "elsewhere:ask_elsewhere": "the predictor",
    "runs:run_locally": "a run",
}


class _Watched:
    """Processes that note which calls left processes behind, or a changed core."""

    def __init__(self, processes: Caller, incidents: Mapping[str, list[str]]) -> None:
        self._processes = processes
        self._incidents = incidents

    def call(self, call: Call) -> Answer:
        answer = self._processes.call(call)
        name = call.function.rpartition(".")[2]
        what = _ACTIONS.get(name, name)
        could_end_them = answer.returncode >= 0  # not: it was killed, as the checks of resuming do
        if answer.has_left_processes and could_end_them and what != "a step":  # steps_leave_no_process_behind names it
            self._incidents["process"].append(f"{what} leaves processes behind (they were killed)")
        if answer.core_changes:
            self._incidents["core"].append(f"{what} replaces {described_changes(answer.core_changes)}")
        return answer


class ContractSession:
    """One use case under check."""

    def __init__(self, declaration: ContractDeclaration, *, processes: Caller, folder: Path) -> None:
        """Check the use case of `declaration`.

        Args:
            declaration: by its author.
            processes: in which its code is executed.
            folder: an empty folder for everything that is made.
        """
        self.declaration = declaration
        self.incidents: dict[str, list[str]] = {"core": [], "process": []}
        self.processes = _Watched(processes, self.incidents)
        self.folder = folder.resolve()
        self.surrounding_changes: list[str] = []
        self.printed: list[str] = []
        self.shared: dict[str, Any] = {}
        self.made: dict[str, tuple[Any, BaseException | None]] = {}
        self.examination = Examination(self, checks=all_checks(), declaration=declaration)
        self._numbers: dict[str, int] = {}

    def close(self) -> None:
        """Keep everything: a session holds nothing open."""

    # --- Checks -------------------------------------------------------------------------------------------

    def outcomes(self) -> Iterator[Outcome]:
        """Make every check and yield its outcome, in their order."""
        return self.examination.outcomes()

    def outcome(self, check: Check, *, ignoring: Collection[str] = ()) -> Outcome:
        """Make a check, after those that must hold before it; each is made once.

        Args:
            check: the check.
            ignoring: checks that may fail before it.
        """
        return self.examination.outcome(check, ignoring=ignoring)

    def take_run(
        self, *, predictions: Predictions, report: MetricReport, columns: Mapping[str, Mapping[str, str]]
    ) -> None:
        """Use the results of a stored run instead of executing the pipeline once more."""
        self.made["split_columns"] = (columns, None)
        self.made["predictions"] = (predictions, None)
        self.made["report"] = (report, None)
        self.examination.take(Outcome(check="steps_succeed", status=Status.PASSED))

    # --- The plugin ---------------------------------------------------------------------------------------

    @Product
    def installed(self) -> InstalledUseCase:
        """The use case as its distribution announces it."""
        from mlops_core.use_cases.discovery import find_use_case

        return find_use_case(self.declaration.use_case)

    @Product
    def plugin(self) -> object:
        """The object that holds the hooks: imported, not yet registered."""
        module_name, _, attribute = self.installed.target.partition(":")
        with self.guard("importing the plugin"):
            found: object = importlib.import_module(module_name)
            for part in filter(None, attribute.split(".")):
                found = getattr(found, part)
        return found

    @Product
    def use_case(self) -> UseCase:
        """The façade, through which all hooks are called."""
        from mlops_core.use_cases.manager import UseCase

        return UseCase(self.plugin, installed=self.installed)

    @Product
    def config(self) -> LoadedConfig:
        """The smallest configuration."""
        return self.load_config()

    def load_config(self, *overrides: str) -> LoadedConfig:
        """Return the smallest configuration with further overrides."""
        declared = self.declaration
        with self.guard("reading the configuration"):
            return self.use_case.load_config(declared.config, overrides=(*declared.overrides, *overrides))

    @Product
    def pipeline(self) -> Pipeline:
        """The pipeline of the smallest configuration."""
        with self.guard("building the pipeline"):
            return self.use_case.pipeline(self.config.model)

    @Product
    def request(self) -> RunRequest:
        """The run of the smallest configuration."""
        from mlops_core.runners.request import RunRequest

        return RunRequest(
            use_case=self.use_case,
            config=self.config,
            pipeline=self.pipeline,
            parameters=self.pipeline.resolve_parameters(self.declaration.parameters),
            seed=self.declaration.seed,
            is_offline=True,
        )

    @property
    def numbers(self) -> dict[str, float]:
        """The numeric parameters, as a gate receives them."""
        return {name: value for name, value in self.request.parameters.items() if isinstance(value, int | float)}

    @Product
    def first_calls(self) -> Mapping[str, Mapping[str, str]]:
        """What each hook did to its arguments and to core when it was called for the first time."""
        return self._first_calls("")

    @Product
    def first_metrics(self) -> Mapping[str, str]:
        """What the metric hook did to the predictions when it was called for the first time."""
        return self._first_calls(str(self.evaluation_output("predictions")))["mlops_compute_metrics"]

    def _first_calls(self, predictions: str) -> Mapping[str, Mapping[str, str]]:
        answer = self.call("hooks:call_each", {**self._named(), "predictions": predictions})
        if answer.error:
            raise ContractError(f"in a fresh process: {answer.error}")
        found: Mapping[str, Mapping[str, str]] = answer.result
        return found

    @Product
    def described(self) -> Mapping[str, Any]:
        """What loading and describing the use case imported and touched, seen from a fresh process."""
        answer = self.call("plugin:describe", self._named())
        if answer.error:
            raise ContractError(f"in a fresh process: {answer.error}")
        found: Mapping[str, Any] = answer.result
        return found

    # --- Data ---------------------------------------------------------------------------------------------

    @Product
    def dataset(self) -> Path:
        """The folder of the configured data set."""
        _, path = self.use_case.dataset_source(self.config.model)
        if path is not None:
            return path.absolute()
        answer = self.fetched
        if answer.error:
            raise ContractError(f"the data set could not be fetched: {answer.error}")
        return self.folder / "dataset"

    @Product
    def fetched(self) -> Answer:
        """How fetching the configured data set ended."""
        _, path = self.use_case.dataset_source(self.config.model)
        if path is not None:
            raise NotApplicableError("dataset.path names a folder: nothing is fetched")
        return self.fetch(self.folder / "dataset", is_offline=self.declaration.is_generated)

    def fetch(self, destination: Path, *, is_offline: bool) -> Answer:
        """Fetch the configured data set in a process of its own."""
        return self.call(
            "plugin:fetch",
            {
                **self._named(),
                "destination": str(destination),
                "seed": self.declaration.seed,
                "is_offline": is_offline,
            },
        )

    # --- Executions ---------------------------------------------------------------------------------------

    @Product
    def reference(self) -> Trace:
        """The first observed execution, with which everything else is compared."""
        return self.execute()

    @Product
    def completed(self) -> Trace:
        """The first execution, which must have come to its end."""
        failed = self.reference.failed
        if failed is not None:
            raise ContractError(f"step '{failed.name}' failed: {failed.error}")
        return self.reference

    @Product
    def repeated(self) -> Trace:
        """A second execution in the same surroundings."""
        return self.execute()

    @Product
    def varied(self) -> Trace:
        """An execution in which all surroundings are different at once."""
        return self.execute(*Surrounding)

    def step_duration_s(self, step: str) -> float:
        """Return how long a step's own code takes: the shortest of the executions until now."""
        traces = [self.made[name][0] for name in ("reference", "repeated", "varied") if name in self.made]
        return min(float(trace.steps[step].duration_s) for trace in traces if trace is not None and step in trace.steps)

    @property
    def packages(self) -> tuple[str, ...]:
        """Foreign packages that the first execution had imported: those after it need not import them again."""
        trace, _ = self.made.get("reference", (None, None))
        if "packages" not in self.shared and trace is not None:
            imported = frozenset().union(*(step.packages for step in trace.steps.values()))
            self.shared["packages"] = foreign_distributions(imported)
        found: tuple[str, ...] = self.shared.get("packages", ())
        return found

    def execute(self, *surroundings: Surrounding) -> Trace:
        """Execute the pipeline once more, in surroundings of which some are different."""
        place, dataset = self.folder / "place", self.dataset
        if Surrounding.FOLDER_NAMES in surroundings:
            place = self.folder / "another place" / "of execution"
            dataset = place.parent / "the data"
            shutil.rmtree(place.parent, ignore_errors=True)
            shutil.copytree(self.dataset, dataset)
        execution = Execution(
            request=self.request,
            dataset=dataset,
            place=place,
            kept=self.new_folder("execution", is_made=False),
            root=self.folder,
            configuration=self._configuration_files(),
            timeout_s=self.declaration.timeout_s,
            surroundings=frozenset(surroundings),
            packages=self.packages,
        )
        return execution.carry_out(self.processes)

    def execute_changed(self, dataset: Path, *, given: Mapping[str, Mapping[str, Path]], last: str) -> Trace:
        """Execute the pipeline on another data set and without some steps, whose outputs are given."""
        execution = Execution(
            request=self.request,
            dataset=dataset,
            place=self.folder / "place",
            kept=self.new_folder("execution", is_made=False),
            root=self.folder,
            configuration=self._configuration_files(),
            timeout_s=self.declaration.timeout_s,
            packages=self.packages,
            given=given,
            last=last,
        )
        return execution.carry_out(self.processes)

    def inputs_of(self, step: Step) -> dict[str, Path]:
        """Return local name -> folder of the inputs of a step in the first execution."""
        found = {}
        for name, reference in step.inputs.items():
            producer, _, output = reference.rpartition(".")
            trace: Trace = self.completed
            found[name] = self.dataset if reference == DATASET else trace.steps[producer].outputs[output]
        return found

    def _configuration_files(self) -> tuple[Path, ...]:
        given = (self.declaration.config,) if self.declaration.config else ()
        return tuple(path.absolute() for path in (self.use_case.default_config_path(), *given))

    def run_locally(self, workspace: Path, **options: object) -> Answer:
        """Carry out a whole run in a process of its own; options are those of `inside.runs.run_locally`."""
        overrides = list(self.declaration.overrides)
        if not self.declaration.is_generated:
            overrides.append(f"dataset.path={self.dataset}")
        return self.call(
            "runs:run_locally",
            {
                **self._named(),
                "overrides": overrides,
                "workspace": str(workspace),
                "parameters": dict(self.declaration.parameters),
                "seed": self.declaration.seed,
                **options,
            },
            packages=self.packages,
        )

    @Product
    def local(self) -> RunnerOutcome:
        """A whole run on this machine's runner."""
        from mlops_core.testing.runners.installed import LOCAL

        return LOCAL.run(self)

    # --- Metrics ------------------------------------------------------------------------------------------

    @Product
    def predictions(self) -> Predictions:
        """What the evaluation of the first execution wrote."""
        from mlops_core.predictions import read_predictions

        return read_predictions(self.evaluation_output("predictions"))

    @Product
    def report(self) -> MetricReport:
        """What core wrote to ``evaluation.json`` in the first execution."""
        from mlops_core.evaluation.evaluation_file import read_evaluation

        return read_evaluation(self.evaluation_output("evaluation"), self.pipeline.metrics)

    @Product
    def split_columns(self) -> Mapping[str, Mapping[str, str]]:
        """Sample -> column of the split -> value, as the evaluation of the first execution read them."""
        from mlops_core.runners.evidence import split_columns

        trace: Trace = self.completed
        references = (ref.rpartition(".") for ref in self.pipeline.evaluation_step.inputs.values() if ref != DATASET)
        return split_columns(trace.steps[step].outputs[output] for step, _, output in references)

    def evidence(self, predictions: Predictions) -> GateEvidence:
        """Return what the gate rests on beyond the metrics, from `predictions` and without a champion."""
        from mlops_core.gates.evidence import GateEvidence
        from mlops_core.steps.evaluation import evaluate_predictions

        compute, metrics = self.use_case.compute_metrics, self.pipeline.metrics
        return GateEvidence(
            predictions=predictions,
            compute=compute,
            evaluate=lambda part: evaluate_predictions(part, compute, metrics=metrics),
            columns=self.split_columns if self.pipeline.gate.needs_predictions else {},
        )

    def evaluation_output(self, name: str) -> Path:
        """Return an output of the evaluation step of the first execution."""
        trace: Trace = self.completed
        return trace.steps[self.pipeline.evaluation_step.name].outputs[name]

    @property
    def model(self) -> Path:
        """The folder of the model of the first execution."""
        step, _, output = self.pipeline.model.rpartition(".")
        trace: Trace = self.completed
        return trace.steps[step].outputs[output]

    # --- Tools of the checks ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def guard(self, what: str) -> Iterator[None]:
        """Open a context in which plugin code may be called here: what it changes is noted and put back."""
        watch = self._core
        try:
            with guarded(what, changes=self.surrounding_changes, printed=self.printed):
                yield
        finally:
            changes = watch.changes()
            if changes:
                self.incidents["core"].append(f"{what} replaced {described_changes(changes)}")
                watch.restore()
            else:
                watch.extend()

    @property
    def _core(self) -> CoreWatch:
        """The watch over core in this process."""
        if "core" not in self.shared:
            self.shared["core"] = CoreWatch()
        watch: CoreWatch = self.shared["core"]
        return watch

    def new_folder(self, name: str, *, is_made: bool = True) -> Path:
        """Return a folder of the session that nobody else has."""
        self._numbers[name] = self._numbers.get(name, 0) + 1
        folder = self.folder / f"{name}-{self._numbers[name]}"
        if is_made:
            folder.mkdir(parents=True)
        return folder

    def call(self, function: str, arguments: Mapping[str, Any], **options: Any) -> Answer:
        """Call ``module:function`` of `mlops_core.testing.inside` in a process of its own."""
        return self.processes.call(
            Call(
                function=f"mlops_core.testing.inside.{function}",
                arguments=arguments,
                folder=self.new_folder("call"),
                timeout_s=self.declaration.timeout_s,
                **options,
            )
        )

    def _named(self) -> dict[str, Any]:
        config = self.declaration.config
        return {
            "use_case": self.declaration.use_case,
            "config": str(config.absolute()) if config else None,
            "overrides": list(self.declaration.overrides),
        }
