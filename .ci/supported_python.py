"""Exit with one line when the interpreter is not one with which the project is tested (classifiers of pyproject.toml).

    PYTHON supported_python.py NAME [ENVIRONMENT/bin/python]

NAME is how the interpreter was called. An environment that exists must have the same version. This runs before anything
is installed and also under versions that are too old: standard library and old syntax only.
"""

import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
UNTESTED = (
    "mlops works with Python %s or %s, not with %s (%s): "
    "some packages that it needs have no release for that version; %srun: make PYTHON=python%s"
)
OTHER_VERSION = (
    "the environment %s has Python %s, not %s (%s); "
    "run: make clean, or choose another environment with VENV=.venv-%s"
)  # fmt: skip


def tested_versions():
    """Return the tested versions, for example ``["3.11", "3.12"]``."""
    with open(os.path.join(ROOT, "pyproject.toml")) as stream:
        return re.findall(r'"Programming Language :: Python :: (3\.\d+)"', stream.read())


def installed_version(python):
    """Return the version of the interpreter `python`, for example ``3.12``."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    with open(os.devnull, "w") as nowhere:
        return subprocess.check_output([python, "-c", code], stderr=nowhere).decode().strip()


def is_installed(name):
    """Return whether `name` starts an interpreter; a file on the search path may be a shim that does not."""
    try:
        return bool(installed_version(name))
    except (OSError, subprocess.CalledProcessError):
        return False


def fault(name, environment):
    """Return what is wrong with this interpreter, "" when nothing is."""
    versions = tested_versions()
    version = "%d.%d" % sys.version_info[:2]
    if version not in versions:
        installed = [v for v in versions if is_installed("python" + v)]
        first, choice = ("", installed[-1]) if installed else ("install one of them and ", versions[-1])
        return UNTESTED % (", ".join(versions[:-1]), versions[-1], version, name, first, choice)
    if os.access(environment, os.X_OK) and installed_version(environment) != version:
        folder = os.path.dirname(os.path.dirname(environment))
        return OTHER_VERSION % (folder, installed_version(environment), version, name, version)
    return ""


if __name__ == "__main__":
    message = fault(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "")
    sys.exit("make: " + message if message else 0)
