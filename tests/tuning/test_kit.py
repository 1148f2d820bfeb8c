"""The contract kit on a use case with a search: a sound one passes, and each fault is named."""

import shutil
import sys
from pathlib import Path

import pytest

from mlops_core.testing import ContractDeclaration, ContractSession, all_checks
from mlops_core.testing.checks import NotApplicableError

SEARCH = ("search_varies_existing_keys", "search_space_is_legal", "trials_can_be_declared")
JUDGED = "trials_are_judged_on_validation"


@pytest.fixture
def check(contract_processes, tmp_path):
    def call(*names, use_case="TUNED", overrides=()):
        declaration = ContractDeclaration(use_case=use_case, overrides=overrides)
        session = ContractSession(declaration, processes=contract_processes, folder=tmp_path / "session")
        session.folder.mkdir()
        return [list(all_checks()[name].function(session)) for name in names]

    return call


@pytest.fixture
def changed(tuned, tmp_path, monkeypatch):
    """Return a function that installs the use case with one text of its plugin replaced."""

    def install(old, new):
        folder = tmp_path / "installed"
        package = f"mlops_retuned_{sum(name.startswith('mlops_retuned_') for name in sys.modules)}"
        shutil.copytree(Path(__file__).parent / "tuned_toy", folder)
        for path in (*folder.rglob("*.py"), *folder.rglob("entry_points.txt")):
            text = path.read_text().replace("mlops_tuned", package).replace("TUNED =", "RETUNED =")
            path.write_text(text.replace(old, new))
        (folder / "mlops_tuned").rename(folder / package)
        (folder / "mlops_tuned-0.1.0.dist-info").rename(folder / f"{package}-0.1.0.dist-info")
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.setenv("PYTHONPATH", str(folder))
        return "RETUNED"

    return install


def test_a_sound_search_passes(tuned, check):
    assert check(*SEARCH, JUDGED) == [[], [], [], []]


def test_trials_that_are_judged_on_the_test_part_are_named(tuned, check):
    ((found,),) = check(JUDGED, overrides=("training.behaviour=test_part",))
    assert "predicted sample '024' is in the test part" in found


def test_a_use_case_without_a_space_is_not_concerned(toy, check):
    with pytest.raises(NotApplicableError, match="no search space"):
        check("search_space_is_legal", use_case="TOY")


@pytest.mark.parametrize(
    ("name", "old", "new", "expected"),
    [
        (
            "search_space_is_legal",
            "threshold: float = Field(default=3.0, ge=0, le=20)",
            "threshold: float = Field(default=3.0, ge=0, le=10)",
            '{"threshold": 12.0} is refused',
        ),
        (
            "search_varies_existing_keys",
            'key="training.threshold"',
            'key="training.threshhold"',
            "the configuration has no value at 'training.threshhold'",
        ),
        (
            "trials_can_be_declared",
            'outputs=("model", "validation"),\n            results=("validation",),',
            'outputs=("model",),',
            "declare it in outputs",
        ),
    ],
)
def test_faults_of_a_search_are_named(changed, check, name, old, new, expected):
    use_case = changed(old, new)
    (found,) = check(name, use_case=use_case)
    assert expected in " ".join(found)
