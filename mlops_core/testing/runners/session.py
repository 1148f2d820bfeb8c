"""The session of one runner: the runs that the checks examine, each carried out once, and the outcome of each check."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_core.errors import ContractError
from mlops_core.testing.examination import Examination
from mlops_core.testing.observation.processes import Call
from mlops_core.testing.products import Product
from mlops_core.testing.runners.backdoors import is_alive, run_ids
from mlops_core.testing.runners.drives import Drive, KillableDrive, drive_of
from mlops_core.testing.runners.registry import runner_checks
from mlops_core.testing.runners.witness import Witness

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from mlops_core.testing.observation.processes import Processes
    from mlops_core.testing.runners.declaration import RunnerDeclaration
    from mlops_core.testing.runners.surroundings import Surroundings

USE_CASE = "PROBE"
SECRET_VARIABLE, SECRET = "PROBE_PASSWORD", "p4ssw0rd-of-the-probe"
_PROBE = Path(__file__).parent / "probe" / "mlops_probe"
_START_S, _END_S = 120.0, 20.0


class RunnerSession:
    """One runner under check."""

    def __init__(
        self,
        declaration: RunnerDeclaration,
        *,
        processes: Processes,
        folder: Path,
        surroundings: Callable[[Path], AbstractContextManager[Surroundings]],
    ) -> None:
        """Check the runner of `declaration`; PROBE is installed for as long as the session is open.

        Args:
            declaration: what its author declares.
            processes: in which runs are carried out.
            folder: an empty folder for everything that is made.
            surroundings: called with a folder; returns what the engine needs around its runs.
        """
        self.declaration = declaration
        self.processes = processes
        self.folder = folder.resolve()
        self.shared: dict[str, Any] = {}
        self.made: dict[str, tuple[Any, BaseException | None]] = {}
        self.examination = Examination(self, checks=runner_checks(), declaration=declaration)
        self._numbers: dict[str, int] = {}
        self._opened = contextlib.ExitStack()
        self._opened.enter_context(_installed(self.new_folder("installed")))
        self.witness = self._opened.enter_context(Witness())
        self.surroundings = self._opened.enter_context(surroundings(self.new_folder("surroundings")))

    def close(self) -> None:
        """Uninstall PROBE, and end what the runner has left running."""
        self._opened.close()
        for visit in self.witness.all_visits():
            if is_alive(visit.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(visit.pid, signal.SIGKILL)

    # --- Runs ---------------------------------------------------------------------------------------------

    def new_folder(self, name: str) -> Path:
        """Return an empty folder that is used for nothing else."""
        self._numbers[name] = self._numbers.get(name, 0) + 1
        folder = self.folder / f"{name}-{self._numbers[name]}"
        folder.mkdir(parents=True)
        return folder

    def drive(
        self,
        scenario: str,
        *overrides: str,
        workspace: Path,
        answers: Mapping[str, Sequence[str]] | None = None,
        raises: bool = False,
        **options: Any,
    ) -> Drive:
        """Carry out a run and return what can be seen of it from outside.

        Args:
            scenario: under which its steps report; runs that may reuse each other's steps have the same.
            overrides: of the configuration.
            workspace: where it is kept.
            answers: step -> instructions for its processes, in their order.
            raises: the observer raises at every event.
            options: further arguments of `mlops_core.api.run`.
        """
        self.witness.plan(scenario, answers or {})
        before = len(self.witness.visits(scenario))
        call = Call(
            function="mlops_core.testing.inside.drives:drive",
            arguments=self._arguments(scenario, overrides, workspace=workspace, raises=raises, options=options),
            folder=self.new_folder("drive"),
            cwd=self.new_folder("elsewhere"),
            environ=self._environ(),
            timeout_s=self.declaration.timeout_s,
        )
        answer = self.processes.call(call)
        self._await_end(scenario)
        visits = self.witness.visits(scenario)[before:]
        return drive_of(
            answer.result or {"error": answer.error},
            workspace=workspace,
            cwd=call.cwd or call.folder,
            visits=visits,
        )

    def start(
        self, scenario: str, *overrides: str, workspace: Path, answers: Mapping[str, Sequence[str]], **options: Any
    ) -> KillableDrive:
        """Start a run in a process of its own, which can be interrupted and killed; arguments are those of `drive`."""
        self.witness.plan(scenario, answers)
        arguments = self._arguments(scenario, overrides, workspace=workspace, raises=False, options=options)
        return KillableDrive(arguments, folder=self.new_folder("drive"), environ=self._environ(), workspace=workspace)

    def _arguments(
        self, scenario: str, overrides: Sequence[str], *, workspace: Path, raises: bool, options: Mapping[str, Any]
    ) -> dict[str, Any]:
        run: dict[str, Any] = {"workspace": str(workspace), "is_offline": True, **options}
        if "resume" not in options:
            witness = (f"witness.port={self.witness.port}", f"witness.scenario={scenario}")
            run |= {"use_case": USE_CASE, "overrides": [*witness, *overrides]}
        runner = run.pop("runner", self.declaration.runner)
        own = dict(self.declaration.options) if runner == self.declaration.runner else {}
        return {"runner": runner, "options": own, "raises": raises, "run": run}

    def _environ(self) -> dict[str, str]:
        return {
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            SECRET_VARIABLE: SECRET,
            **self.surroundings.environ,
        }

    def _await_end(self, scenario: str) -> None:
        """Wait until the connections of ended processes are seen as closed."""
        self.witness.wait_for(
            lambda: all(v.ended is not None or is_alive(v.pid) for v in self.witness.visits(scenario)), timeout_s=_END_S
        )

    # --- The plugin ---------------------------------------------------------------------------------------

    @Product
    def described(self) -> Mapping[str, Any]:
        """What the plugin says of itself, and how it refuses what it does not know."""
        answer = self.processes.call(
            Call(
                function="mlops_core.testing.inside.drives:call_plugin",
                arguments={
                    "runner": self.declaration.runner,
                    "workspace": str(self.new_folder("workspace")),
                },
                folder=self.new_folder("call"),
                environ=self._environ(),
                timeout_s=self.declaration.timeout_s,
            )
        )
        if answer.error:
            raise ContractError(answer.error)
        described: Mapping[str, Any] = answer.result
        return described

    # --- The runs that checks share -----------------------------------------------------------------------

    @Product
    def plain(self) -> Drive:
        """A run with two shards, other than default arguments, and two steps that wait for each other."""
        meet = {"left": ["meet"], "right": ["meet"]} if self.declaration.is_parallel else {}
        return self.drive(
            "plain",
            *self._plain_overrides(),
            workspace=self.new_folder("workspace"),
            answers=meet,
            seed=3,
            jobs=2,
            parameters={"factor": "7"},
        )

    def _plain_overrides(self) -> tuple[str, ...]:
        shards = ("preparation.shards=2",) if self.declaration.has_shards else ()
        return (*shards, "preparation.scale=5", "training.level=9")

    @Product
    def done(self) -> Drive:
        """The plain run, which must be accepted."""
        plain: Drive = self.plain
        if plain.status != "accepted":
            raise ContractError(f"a plain run ended with {plain.outcome}")
        return plain

    def again(self, **options: Any) -> Drive:
        """Carry out the plain run once more in its workspace, with further arguments of `mlops_core.api.run`."""
        arguments = {"seed": 3, "parameters": {"factor": "7"}, **options}
        return self.drive("plain", *self._plain_overrides(), workspace=self.done.workspace, **arguments)

    @Product
    def repeated(self) -> Drive:
        """The plain run once more, with nothing changed."""
        return self.again()

    @Product
    def forced(self) -> Drive:
        """The plain run once more; the training is forced where possible, and the observer raises at every event."""
        return self.again(force=["train"], raises=True) if self.declaration.has_force else self.again(raises=True)

    @Product
    def changed(self) -> Drive:
        """The plain run with another level of the training."""
        arguments: dict[str, Any] = {"seed": 3, "parameters": {"factor": "7"}}
        overrides = (*self._plain_overrides(), "training.level=10")
        return self.drive("plain", *overrides, workspace=self.done.workspace, **arguments)

    @Product
    def narrow(self) -> Drive:
        """The plain run in a workspace of its own, without shards, one step at a time."""
        overrides = ("preparation.scale=5", "training.level=9")
        arguments: dict[str, Any] = {"seed": 3, "parameters": {"factor": "7"}, "jobs": 1}
        linger = {"left": ["linger"], "right": ["linger"]} if self.declaration.has_jobs else {}
        return self.drive("narrow", *overrides, workspace=self.new_folder("workspace"), answers=linger, **arguments)

    @Product
    def local(self) -> Drive:
        """The plain run on the runner of this machine."""
        arguments: dict[str, Any] = {"seed": 3, "parameters": {"factor": "7"}, "runner": "local"}
        return self.drive("local", *self._plain_overrides(), workspace=self.new_folder("workspace"), **arguments)

    @Product
    def rejected(self) -> Drive:
        """The plain run with a gate that it does not pass."""
        return self.again(parameters={"factor": "7", "least": "0.9"})

    @Product
    def undecided(self) -> Drive:
        """The plain run with a gate for which the test set is too small."""
        return self._with_gate("accuracy.lower >= 0.7")

    @Product
    def compared(self) -> Drive:
        """The plain run with a gate that compares the model with the best version and judges a class."""
        return self._with_gate("accuracy >= best.accuracy - 0.9 and worst(recall) >= 0.1")

    def _with_gate(self, condition: str) -> Drive:
        arguments: dict[str, Any] = {"seed": 3, "parameters": {"factor": "7"}}
        overrides = (*self._plain_overrides(), f"gate.condition={condition}")
        return self.drive("plain", *overrides, workspace=self.done.workspace, **arguments)

    @Product
    def without_metric(self) -> Drive:
        """A run whose evaluation has no value of the metric."""
        return self._faulty("missing")

    @Product
    def not_a_number(self) -> Drive:
        """A run whose metric is not a number."""
        return self._faulty("nan")

    def _faulty(self, fault: str) -> Drive:
        arguments: dict[str, Any] = {"seed": 3, "parameters": {"factor": "7"}}
        overrides = (*self._plain_overrides(), f"evaluation.fault={fault}")
        return self.drive("plain", *overrides, workspace=self.done.workspace, **arguments)

    @Product
    def failing(self) -> Drive:
        """A run whose training raises."""
        return self.drive("failing", workspace=self.new_folder("workspace"), answers={"train": ["raise"]})

    @Product
    def resumed(self) -> Drive:
        """The failed run, resumed; its training succeeds now."""
        failing: Drive = self.failing
        return self.drive("failing", workspace=failing.workspace, resume=failing.run_id)

    @Product
    def empty(self) -> Drive:
        """A run whose training writes nothing."""
        return self.drive("empty", workspace=self.new_folder("workspace"), answers={"train": ["nothing"] * 3})

    @Product
    def exited(self) -> Drive:
        """A run whose training ends its process, with exit code 0, before it has written anything."""
        return self.drive("exited", workspace=self.new_folder("workspace"), answers={"train": ["exit"] * 3})

    @Product
    def retried(self) -> Drive:
        """A run whose training fails once and may be retried twice."""
        return self.drive(
            "retried",
            "training.retries=2",
            workspace=self.new_folder("workspace"),
            answers={"train": ["raise"]},
        )

    @Product
    def exhausted(self) -> Drive:
        """A run whose training fails as often as it is tried and may be retried once."""
        return self.drive(
            "exhausted", "training.retries=1", workspace=self.new_folder("workspace"), answers={"train": ["raise"] * 9}
        )

    @Product
    def timed_out(self) -> Drive:
        """A run whose training takes longer than it may."""
        return self.drive(
            "timed out", "training.timeout_s=2", workspace=self.new_folder("workspace"), answers={"train": ["hold"] * 9}
        )

    @Product
    def oversized(self) -> Drive:
        """A run whose training needs more memory than it may use."""
        return self.drive(
            "oversized",
            "training.memory_limit_mb=200",
            workspace=self.new_folder("workspace"),
            answers={"train": ["allocate"] * 9},
        )

    @Product
    def concurrent(self) -> tuple[Drive, ...]:
        """Two runs at the same time in one workspace, with different seeds; their trainings wait for each other."""
        workspace = self.new_folder("workspace")
        started = [
            self.start(f"concurrent {seed}", workspace=workspace, answers={"train": ["hold"]}, seed=seed)
            for seed in (1, 2)
        ]
        for seed in (1, 2):
            self._wait_for_training(f"concurrent {seed}")
        for seed in (1, 2):
            self.witness.release(f"concurrent {seed}")
        return tuple(
            one.wait(self.declaration.timeout_s, visits=functools.partial(self.witness.visits, f"concurrent {seed}"))
            for one, seed in zip(started, (1, 2), strict=True)
        )

    def _wait_for_training(self, scenario: str) -> None:
        is_training = self.witness.wait_for(lambda: bool(self.witness.visits(scenario, "train")), timeout_s=_START_S)
        if not is_training:
            raise ContractError(f"the training did not start within {_START_S:g} s")

    @Product
    def interrupted(self) -> Drive:
        """A run that is interrupted (Ctrl-C) during its training."""
        return self._signalled("interrupted", signal.SIGINT)

    @Product
    def killed(self) -> Drive:
        """A run whose process is killed during its training."""
        return self._signalled("killed", signal.SIGKILL)

    def _signalled(self, scenario: str, number: signal.Signals) -> Drive:
        started = self.start(scenario, workspace=self.new_folder("workspace"), answers={"train": ["hold", "go"]})
        self._wait_for_training(scenario)
        started.send(number)
        drive = started.wait(self.declaration.timeout_s, visits=lambda: self.witness.visits(scenario))
        self.witness.wait_for(
            lambda: all(v.ended is not None and not is_alive(v.pid) for v in self.witness.visits(scenario)),
            timeout_s=_END_S,
        )
        return drive

    @Product
    def taken_up(self) -> Drive:
        """The killed run, resumed."""
        killed: Drive = self.killed
        self.witness.release("killed")
        return self.drive("killed", workspace=killed.workspace, resume=run_ids(killed.workspace)[-1])

    @Product
    def cut(self) -> Drive:
        """A run that loses its connection during its training."""
        started = self.start("cut", workspace=self.new_folder("workspace"), answers={"train": ["hold"]})
        self._wait_for_training("cut")
        self.surroundings.cut()
        try:
            return started.wait(self.declaration.timeout_s, visits=lambda: self.witness.visits("cut"))
        finally:
            self.surroundings.mend()
            self.witness.release("cut")

    @Product
    def mended(self) -> Drive:
        """The run that lost its connection, resumed."""
        cut: Drive = self.cut
        return self.drive("cut", workspace=cut.workspace, resume=run_ids(cut.workspace)[-1])


@contextlib.contextmanager
def _installed(folder: Path) -> Any:
    """Install PROBE in a folder, here and in processes that are started."""
    shutil.copytree(_PROBE, folder / _PROBE.name, ignore=shutil.ignore_patterns("__pycache__"))
    info = folder / "mlops_probe-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mlops-probe\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[mlops.usecases]\n{USE_CASE} = mlops_probe.plugin\n", encoding="utf-8")
    before = os.environ.get("PYTHONPATH")
    sys.path.insert(0, str(folder))
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), *filter(None, [before])])
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
