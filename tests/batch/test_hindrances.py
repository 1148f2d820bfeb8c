"""What hinders ``mlops predict --output``: another plugin or format, no permission, a full disk. Nothing is lost."""

import errno
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


@pytest.fixture
def own_plugin(tmp_path, monkeypatch, model):
    """A copy of the plugin ECHO that the test may change."""
    copy = tmp_path / "plugin"
    shutil.copytree(TESTS / "serving" / "echo", copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(copy), str(TESTS / "toy")]))
    return copy


def stop_after(count, command, output="out.jsonl"):
    """Start a call, and kill it when the journal has `count` lines."""
    process = subprocess.Popen(command, env=os.environ, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    journal = Path(f"{output}.partial") / "journal.jsonl"
    while not (journal.exists() and journal.read_bytes().count(b"\n") >= count):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_resuming_with_another_plugin_code_or_format_is_refused_by_name(own_plugin, predict, command, held):
    (released,) = held("2/23.bin", pause_s=0.1)
    stop_after(2, command("in", "--workers", 1))
    released.touch()
    before = {path.name: path.read_bytes() for path in Path("out.jsonl.partial").iterdir()}
    code = own_plugin / "mlops_echo" / "plugin.py"
    text = code.read_text()
    code.write_text(text + "\nMORE = 1\n")
    assert "--resume: the digest of the plugin's code is" in predict("in", "--resume", code=2)
    code.write_text(text)
    metadata = own_plugin / "mlops_echo-0.1.0.dist-info" / "METADATA"
    facts = metadata.read_text()
    metadata.write_text(facts.replace("Version: 0.1.0", "Version: 0.2.0"))
    expected = "--resume: the plugin is mlops-echo 0.2.0, but out.jsonl was begun with mlops-echo 0.1.0; use the same"
    assert expected in predict("in", "--resume", code=2)
    metadata.write_text(facts)
    Path("out.jsonl.partial").rename("out.csv.partial")
    expected = "--resume: the format is text/csv, but out.csv was begun with application/jsonlines; use the same"
    assert expected in predict("in", "--resume", code=2, output="out.csv")
    Path("out.csv.partial").rename("out.jsonl.partial")
    assert {path.name: path.read_bytes() for path in Path("out.jsonl.partial").iterdir()} == before
    assert "answers for 26 files" in predict("in", "--resume", code=5)


@pytest.fixture
def unprivileged(command, tmp_path):
    """Run the command without the right to ignore permissions; return its exit code and what it printed."""

    def call(*arguments, output="out.jsonl"):
        done = subprocess.run(
            command(*arguments, output=output),
            check=False,
            capture_output=True,
            text=True,
            env={**os.environ, "HOME": str(tmp_path)},
            preexec_fn=None if os.geteuid() else _drop_capabilities,
        )
        return done.returncode, done.stdout + done.stderr

    return call


def _drop_capabilities():
    """Keep the user, so that everything can be imported, but not the capability to ignore permissions."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        if libc.prctl(24, capability, 0, 0, 0):  # PR_CAPBSET_DROP
            raise OSError(ctypes.get_errno(), "prctl")


def test_a_file_without_permission_is_named_and_costs_no_other(unprivileged, folder):
    closed = folder / "unusable.bin"
    closed.chmod(0)
    code, out = unprivileged("in", "--workers", 2)
    assert (code, "in/unusable.bin cannot be read: Permission denied" in out) == (5, True), out
    assert len(Path("out.jsonl").read_bytes().splitlines()) == 27


def test_folders_without_permission_are_refused_before_anything_is_predicted(unprivileged, folder):
    inner = folder / "0"
    inner.chmod(0)
    code, out = unprivileged("in")
    inner.chmod(0o755)
    assert (code, "in/0 cannot be read: Permission denied; nothing was predicted" in out) == (5, True), out
    target = Path("target")
    target.mkdir()
    target.chmod(0o555)
    code, out = unprivileged("in", output="target/out.jsonl")
    message = "target/out.jsonl.partial cannot be written: Permission denied; free space or name another --output"
    assert message in out
    assert code not in (0, 1, -signal.SIGKILL)
    assert not list(target.iterdir())


@pytest.fixture
def small_disk(tmp_path):
    """Return a function that mounts a disk with some KiB, or changes its size."""
    place = tmp_path / "disk"
    place.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place]
    if os.geteuid() != 0 or subprocess.run(mounting, check=False).returncode:
        pytest.skip("a small disk can be mounted by root only")

    def resize(kib):
        subprocess.run(["mount", "-o", f"remount,size={kib}k", place], check=True)
        return place

    yield resize
    subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk_is_said_in_one_line_and_the_call_can_be_continued(predict, folder, small_disk):
    (folder / "unusable.bin").unlink()
    rows = b"".join(b"%d\n" % number for number in range(400))
    for number in range(12):
        (folder / f"many-{number:02d}.csv").write_bytes(rows)
    predict("in", "--workers", 2, output="whole.jsonl")
    expected = Path("whole.jsonl").read_bytes()
    place = small_disk(400)
    assert len(expected) > 400 << 10
    out = predict("in", "--workers", 2, output="disk/out.jsonl", code=4)
    lines = [line for line in out.splitlines() if line]
    message = f"cannot be written: {os.strerror(errno.ENOSPC)}; free space, then continue with --resume"
    assert len(lines) == 1, out
    assert lines[0].endswith(message)
    assert not (place / "out.jsonl").exists()
    small_disk(8_000)
    summary = json.loads(predict("in", "--resume", "--json", output="disk/out.jsonl"))
    assert summary["files"] == 37
    assert (place / "out.jsonl").read_bytes() == expected
    assert sorted(path.name for path in place.iterdir()) == ["out.jsonl"]
