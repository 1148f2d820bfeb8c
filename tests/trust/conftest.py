"""Two runs of a use case with a split, keys, and bundles of both; made once and copied, since a run takes a second."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from mlops_core.trust.bundles.bundle import find_subject, write_bundle
from mlops_core.trust.bundles.keys import SigningKey, TrustedKeys, read_public_key, read_signing_key, write_key_pair
from mlops_core.workspace.store import Store

PLUGIN = Path(__file__).parent / "plugin"
COMPARED = "gate.condition=default and acc.lower >= 0.2 and acc >= best.acc - 0.3"


@dataclass(frozen=True)
class Evidence:
    """What the tests start from."""

    workspace: Path
    bundle: Path
    signer: SigningKey
    keys: TrustedKeys
    private: Path
    public: Path
    runs: tuple[str, str]

    def write(self, path, subject="latest", *, use_case="", key="signer"):
        with Store(self.workspace) as store:
            found = find_subject(store, subject, use_case=use_case)
            return write_bundle(store, found, path, key=self.signer if key == "signer" else key)


@pytest.fixture
def started():
    """Return a function that runs a command as on another machine: another folder, no home, the plugins it names."""

    def start(arguments, *, cwd, plugin=PLUGIN):
        environ = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"} | ({"PYTHONPATH": str(plugin)} if plugin else {})
        command = [sys.executable, "-c", "from mlops_core.cli import main; main()", *map(str, arguments)]
        return subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, check=False, timeout=120)

    return start


@pytest.fixture(scope="session")
def _prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evidence")
    script = (
        "import sys\nfrom mlops_core import run\n"
        "one = run('WEIGHED', workspace=sys.argv[1])\n"
        f"two = run('WEIGHED', workspace=sys.argv[1], overrides=['training.limit=5.3', {COMPARED!r}])\n"
        "assert one.model_version == 1 and two.model_version == 2, (one.error, two.error)\n"
        "print(one.run_id, two.run_id)\n"
    )
    environ = {**os.environ, "PYTHONPATH": str(PLUGIN)}
    command = [sys.executable, "-c", script, str(folder / "workspace")]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr
    write_key_pair(folder / "signer.pem")
    return folder, tuple(done.stdout.split())


@pytest.fixture
def evidence(_prepared, tmp_path, monkeypatch):
    source, runs = _prepared
    folder = tmp_path / "evidence"
    shutil.copytree(source, folder)
    monkeypatch.syspath_prepend(str(PLUGIN))
    monkeypatch.setenv("PYTHONPATH", str(PLUGIN))
    public = folder / "signer.pub.pem"
    made = Evidence(
        workspace=folder / "workspace",
        bundle=folder / "bundle.tar",
        signer=read_signing_key(folder / "signer.pem"),
        keys=TrustedKeys((read_public_key(public),)),
        private=folder / "signer.pem",
        public=public,
        runs=runs,
    )
    made.write(made.bundle)
    return made
