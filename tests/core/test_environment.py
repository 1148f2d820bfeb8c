"""The environment of a run says which processor, instructions and settings its steps had."""

import os

import pytest

from mlops_core import run
from mlops_core.runners.environment import (
    MACHINE_FACTS,
    describe_environment,
    library_settings,
    package_versions,
    processor_facts,
)

V3 = "cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3 avx avx2 bmi1 bmi2 f16c fma abm movbe"
V4 = f"{V3} avx512f avx512bw avx512cd avx512dq avx512vl"


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        (
            f"cpu family: 6\nmodel\t: 207\nmodel name\t: Xeon\nstepping: 2\nflags : {V4} amx_tile\n\nmodel name: B\n",
            {
                "processor": "Xeon (cpu family 6, model 207, stepping 2)",
                "instruction sets": "x86-64-v4 amx_tile",
            },
        ),
        (f"model name : EPYC\nflags : {V3}\n", {"processor": "EPYC", "instruction sets": "x86-64-v3"}),
        ("flags : fpu sse2\n", {}),
        (
            "CPU part : 0xd40\nFeatures : fp asimd sve i8mm\n",
            {"processor": "0xd40", "instruction sets": "asimd i8mm sve"},
        ),
        ("", {}),
    ],
)
def test_the_processor_is_described_by_name_and_level(text, facts):
    assert processor_facts(text) == facts


def test_settings_of_threads_and_instructions_are_recorded_and_nothing_else():
    chosen = {
        "OMP_NUM_THREADS": "2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
        "TF_ENABLE_ONEDNN_OPTS": "0",
        "TF_NUM_INTRAOP_THREADS": "1",
        "NPY_DISABLE_CPU_FEATURES": "X86_V4",
        "GLIBC_TUNABLES": "x",
    }
    text = library_settings({**chosen, "PATH": "/bin", "AWS_SECRET_ACCESS_KEY": "s", "MAX_THREADS_PASSWORD": "p"})
    assert text == " ".join(f"{name}={value}" for name, value in sorted(chosen.items()))


def test_a_run_records_the_machine_and_its_packages(toy, workspace):
    with pytest.MonkeyPatch.context() as patch:
        for setting in library_settings(os.environ).split():  # those of whoever runs the tests
            patch.delenv(setting.partition("=")[0])
        patch.setenv("OMP_NUM_THREADS", "3")
        environment = run(toy, workspace=workspace).environment
    assert environment["library settings"] == "OMP_NUM_THREADS=3"
    assert int(environment["cores"]) >= 1
    assert list(package_versions(environment)) == ["mlops-usecases"]


def test_facts_of_the_machine_are_not_taken_for_packages():
    environment = describe_environment(["pluggy", "no-such-package"])
    assert set(environment) - set(MACHINE_FACTS) == {"pluggy", "no-such-package"}
    assert package_versions(environment)["no-such-package"] == "not installed"
