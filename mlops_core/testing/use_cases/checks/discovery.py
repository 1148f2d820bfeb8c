"""Checks of how a use case is found and loaded: announced once, light, without side effects."""

from __future__ import annotations

import ast
import importlib.metadata
import re
from typing import TYPE_CHECKING

from mlops_core.errors import did_you_mean
from mlops_core.testing.checks import check
from mlops_core.testing.observation.source_code import environment_readings, import_statements, package_of, sources
from mlops_core.testing.observation.trees import is_below, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlops_core.testing.observation.source_code import ImportStatement
    from mlops_core.testing.use_cases.session import ContractSession

IMPORTED = ("plugin_can_be_imported",)
_NAME = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*\Z")
_HEAVY = frozenset(
    [
        "IPython",
        "PIL",
        "catboost",
        "cv2",
        "dask",
        "datasets",
        "gensim",
        "h5py",
        "jax",
        "keras",
        "librosa",
        "lightgbm",
        "matplotlib",
        "mlflow",
        "moviepy",
        "numba",
        "numpy",
        "onnx",
        "onnxruntime",
        "pandas",
        "plotly",
        "polars",
        "pyarrow",
        "pyspark",
        "scipy",
        "seaborn",
        "sentence_transformers",
        "skimage",
        "sklearn",
        "soundfile",
        "soxr",
        "spacy",
        "statsmodels",
        "sympy",
        "tensorflow",
        "tensorflow_hub",
        "tflite",
        "torch",
        "torchaudio",
        "torchvision",
        "transformers",
        "xgboost",
    ]
)
_MANY = 150
"""Modules of one foreign package, above which importing it is felt."""


@check()
def use_case_is_announced_once(session: ContractSession) -> Iterator[str]:
    """Exactly one installed distribution announces the use case.

    Fix: install the distribution (pip install -e .) or correct the name; of two that announce it, rename or remove one.
    """
    from mlops_core.use_cases.discovery import discover_use_cases

    name = session.declaration.use_case
    installed = discover_use_cases()
    found = [item for item in installed if item.name.casefold() == name.casefold()]
    if not found:
        names = sorted({item.name for item in installed})
        hint = did_you_mean(name, names) or ";"
        yield f"no installed distribution announces '{name}'{hint} installed: {shown(names, 9)}"
    if len(found) > 1:
        yield f"'{name}' is announced by {' and '.join(f'{item.distribution} ({item.target})' for item in found)}"


@check(after=("use_case_is_announced_once",))
def use_case_name_is_portable(session: ContractSession) -> Iterator[str]:
    """The use case's name is upper-case letters, digits and single underscores, a letter first.

    Fix: rename the entry point, for example BIRD_CALLS: the name becomes part of names in every engine.
    """
    name = session.installed.name
    if not _NAME.match(name):
        yield f"'{name}' is not of the form BIRD_CALLS"


@check(after=("use_case_is_announced_once",))
def distribution_requires_core(session: ContractSession) -> Iterator[str]:
    """The metadata of the distribution requires mlops-usecases.

    Fix: add "mlops-usecases" with the versions that it works with to project.dependencies.
    """
    requirements = importlib.metadata.requires(session.installed.distribution) or []
    names = {re.split(r"[^A-Za-z0-9._-]", text, maxsplit=1)[0].lower().replace("_", "-") for text in requirements}
    if "mlops-usecases" not in names:
        yield f"{session.installed.distribution} requires {shown(sorted(names)) or 'nothing'}, not mlops-usecases"


@check(after=("use_case_is_announced_once",))
def plugin_can_be_imported(session: ContractSession) -> Iterator[str]:
    """The module that the entry point names can be imported.

    Fix: whatever the error says; install what is missing by declaring it as a dependency.
    """
    try:
        if session.plugin is None:
            yield f"{session.installed.target} is None"
    except (Exception, SystemExit) as error:  # noqa: BLE001  a plugin may raise anything while it is imported
        yield f"{session.installed.target}: {type(error).__name__}: {error}"


@check(after=IMPORTED)
def importing_changes_nothing(session: ContractSession) -> Iterator[str]:
    """Importing the plugin's module changes nothing in the process and prints nothing.

    Fix: move what has an effect (environment variables, logging, seeds, signals, threads) into the steps.
    """
    assert session.plugin is not None  # noqa: S101  importing is the check
    yield from (change for change in session.surrounding_changes if change.startswith("importing"))
    yield from (text for text in session.printed if text.startswith("importing"))


@check(after=("plugin_can_be_loaded", "pipeline_can_be_built"))
def loading_imports_nothing_heavy(session: ContractSession) -> Iterator[str]:
    """Loading the use case imports no heavy package.

    Fix: import it inside the steps' modules, or inside the function that needs it; the plugin's module is imported
    by every command.
    """
    yield from _heavy(session, "loaded")


@check(after=("loading_imports_nothing_heavy",))
def describing_imports_nothing_heavy(session: ContractSession) -> Iterator[str]:
    """Building the pipeline and the catalogue imports no heavy package.

    Fix: keep declarations (steps, metrics, data sets, configuration) in modules of their own without heavy imports.
    """
    yield from _heavy(session, "described")


def _heavy(session: ContractSession, moment: str) -> Iterator[str]:
    modules: list[str] = session.described[moment]
    tops: dict[str, int] = {}
    for name in modules:
        top = name.partition(".")[0]
        tops[top] = tops.get(top, 0) + 1
    own = _own_package(session)
    for top, count in sorted(tops.items()):
        if top in _HEAVY or (count > _MANY and top not in (own, "mlops_core")):
            yield f"{top} is imported ({count} modules)"


@check(after=("plugin_can_be_loaded", "pipeline_can_be_built"))
def plugin_imports_no_other_plugin(session: ContractSession) -> Iterator[str]:
    """A plugin imports no module of another use case's distribution.

    Fix: copy what is shared, or publish it as a library of its own: plugins are installed and removed one by one.
    """
    from mlops_core.use_cases.discovery import discover_use_cases

    own = _own_package(session)
    others = {item.target.partition(".")[0].partition(":")[0]: item for item in discover_use_cases()}
    imported = {name.partition(".")[0] for name in (*session.described["loaded"], *session.described["described"])}
    for _, tree in sources(own):
        for node in import_statements(tree, with_functions=True):
            imported |= {package_of(name) for name in _imported(node)}
    for package, item in sorted(others.items()):
        if package != own and package in imported:
            yield f"{package} of {item.distribution} is imported"


@check(after=("plugin_can_be_loaded", "pipeline_can_be_built"))
def describing_touches_no_file(session: ContractSession) -> Iterator[str]:
    """Loading and describing the use case write no file, open no connection and start no process.

    Fix: do this in a step, or in mlops_fetch_dataset; describing hooks are called by every command, also offline.
    """
    for kind, subject in session.described["events"]:
        if kind == "write" and not is_below(subject, ["/dev"]) and "__pycache__" not in subject:
            yield f"{subject} is written"
        elif kind in ("connect", "resolve"):
            yield f"a connection to {subject} is made"
        elif kind == "start":
            yield f"the process {subject} is started"


@check(after=IMPORTED)
def plugin_uses_public_names_only(session: ContractSession) -> Iterator[str]:
    """The plugin's code imports no private name of core.

    Fix: use what `mlops_core` exports; a name with a leading underscore may be gone tomorrow.
    """
    for path, tree in sources(_own_package(session)):
        for node in import_statements(tree, with_functions=True):
            names = [part for name in _imported(node) for part in name.split(".")]
            private = [name for name in names if name.startswith("_") and not name.startswith("__")]
            if private and names[0] == "mlops_core":
                yield f"{path.name}:{node.lineno} imports {private[0]}"


@check(after=IMPORTED)
def plugin_reads_no_environment(session: ContractSession) -> Iterator[str]:
    """The plugin's code does not read environment variables.

    Setting one for a library that a step is about to use is allowed.

    Fix: make it a key of the configuration (``${NAME}`` is expanded there) or a parameter, so that it is recorded and
    belongs to the steps' keys.
    """
    for path, tree in sources(_own_package(session)):
        yield from (f"{path.name}:{line} reads {what}" for line, what in environment_readings(tree))


def _own_package(session: ContractSession) -> str:
    return package_of(session.installed.target)


def _imported(node: ImportStatement) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [] if node.level else [f"{node.module}.{alias.name}" for alias in node.names]
