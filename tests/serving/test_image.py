"""The serving image: what is written, and which packages are left out."""

import os
import sys
import zipfile

import pytest

from mlops_core import UsageError
from mlops_core.runners import ContainerImage
from mlops_core.serving import find_model, image
from mlops_core.use_cases.discovery import find_use_case

from .conftest import PLUGINS


@pytest.fixture
def echo(monkeypatch, model_folder):
    """The use case ECHO, and a model of it."""
    for folder in PLUGINS.split(os.pathsep):
        monkeypatch.syspath_prepend(folder)
    return find_use_case("ECHO"), find_model("ECHO", f"{model_folder()}/")


def test_a_large_package_that_the_model_does_not_import_is_left_out(echo, monkeypatch):
    """For this test every package is large, and the plugin requires two: one that is imported with it, and pytest."""
    _, model = echo
    requirements = image._requirements
    added = {"mlops-echo": ["pygments", "pytest"]}
    monkeypatch.setattr(image, "_requirements", lambda name: added.get(name) or requirements(name))
    monkeypatch.setattr(image, "_LARGE_BYTES", 1)
    needed, left_out = image._needed_packages(("mlops-usecases", "mlops-echo"), model)
    assert "pytest" in left_out
    assert "pytest" not in needed
    assert {"pyyaml", "pydantic", "pluggy"} <= set(needed)


@pytest.mark.slow_suite
def test_a_package_that_is_imported_or_small_stays(echo, monkeypatch):
    _, model = echo
    requirements = image._requirements
    monkeypatch.setattr(image, "_requirements", lambda name: ["pytest"] if name == "mlops-echo" else requirements(name))
    needed, left_out = image._needed_packages(("mlops-usecases", "mlops-echo"), model)
    assert left_out == {}
    assert {"pytest", "starlette", "uvicorn", "httptools"} <= set(needed)


def test_the_folder_holds_what_docker_build_needs(echo, tmp_path, monkeypatch):
    use_case, model = echo
    built = []

    def write(name, wheels):
        built.append(name)
        with zipfile.ZipFile(wheels / f"{name.replace('-', '_')}-1-py3-none-any.whl", "w"):
            pass

    monkeypatch.setattr(image, "write_wheel", write)
    engine = ContainerImage(distributions=(), module="some.steps", serving_module="some.serving")
    written = image.write_serving_folder(use_case, model, engine, tmp_path / "image")
    assert built == ["mlops-usecases", "mlops-echo"]
    assert sorted(path.name for path in (tmp_path / "image").iterdir()) == [
        "Dockerfile",
        "requirements.txt",
        "serve.py",
        "wheels",
        "wheels.txt",
    ]
    lines = (tmp_path / "image" / "requirements.txt").read_text().splitlines()
    assert lines == [f"{name}=={version}" for name, version in sorted(written.packages.items())]
    dockerfile = (tmp_path / "image" / "Dockerfile").read_text()
    assert "USECASE_NAME=ECHO" in dockerfile
    assert 'ENTRYPOINT ["python3", "/opt/mlops/serve.py"]' in dockerfile
    assert "--require-hashes" in dockerfile
    assert f"FROM python:{sys.version_info.major}.{sys.version_info.minor}-slim@sha256:" in dockerfile
    assert "from some.serving import main" in (tmp_path / "image" / "serve.py").read_text()
    with pytest.raises(UsageError, match="no serving image"):
        image.write_serving_folder(use_case, model, ContainerImage(distributions=(), module="m"), tmp_path / "other")
