"""Orders in processes of their own: limits, orphans, logs, and the end of everything with the driver."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlops_core.errors import RunnerError
from mlops_core.processes.confinement import child_pids, descendant_pids
from mlops_core.processes.orders import Ending, Order
from mlops_core.processes.pool import ProcessPool

ORDERS = '''
import os, subprocess, sys, threading, time

def succeed(arguments):
    print("printed", arguments["text"])
    return 0

def fail(arguments):
    raise ValueError("no")

def code(arguments):
    return arguments["code"]

def hang(arguments):
    time.sleep(300)

def allocate(arguments):
    block = bytearray(400 << 20)
    block[::4096] = b"x" * len(block[::4096])
    time.sleep(30)
    return 0

def leave(arguments):
    """Start a process whose parent ends at once and that has a session of its own."""
    code = "import subprocess, sys; subprocess.Popen(['sleep', '300'], start_new_session=True)"
    subprocess.run([sys.executable, "-c", code], check=True)
    return 0

def describe(arguments):
    names = ("CHANGED", "REMOVED", "PER_ORDER")
    print(os.getcwd(), [os.environ.get(name) for name in names], "colorsys" in sys.modules, "orders" in sys.modules)
    return 0

def write(arguments):
    with open(arguments["path"], "w") as stream:
        stream.write("written")
    return 0
'''
DRIVER = """
import os, sys, threading
from pathlib import Path
from mlops_core.processes.orders import Order
from mlops_core.processes.pool import ProcessPool

def run():
    order = Order(function="orders:hang", arguments={}, cwd=Path.cwd(), timeout_s=300)
    pool.run(order, log=os.open("driver.log", os.O_CREAT | os.O_WRONLY), modules=("colorsys",))

pool = ProcessPool(environ=lambda: os.environ)
threading.Thread(target=run, daemon=True).start()
sys.stdin.read()
"""


@pytest.fixture
def orders(tmp_path, monkeypatch):
    """Functions that orders call, importable in processes that are started."""
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "orders.py").write_text(ORDERS)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


@pytest.fixture
def pool(orders):
    with ProcessPool(environ=lambda: {**os.environ, "CHANGED": "1"}) as pool:
        yield pool
    assert pool.wait(10) in (0, None)


@pytest.fixture
def run(pool, tmp_path):
    def execute(function, arguments=None, **options):
        modules = options.pop("modules", ())
        order = Order(
            function=f"orders:{function}", arguments=arguments or {}, cwd=tmp_path, **{"timeout_s": 60, **options}
        )
        log = os.open(tmp_path / "log.txt", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        return pool.run(order, log=log, modules=modules)

    return execute


def is_running(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def test_an_order_is_executed_and_its_output_is_logged(run, tmp_path):
    assert run("succeed", {"text": "something"}).is_clean
    assert (tmp_path / "log.txt").read_text() == "printed something\n"


def test_the_exit_code_is_that_of_the_function(run):
    assert os.waitstatus_to_exitcode(run("code", {"code": 7}).status) == 7


def test_an_exception_is_exit_code_1_with_a_traceback_in_the_log(run, tmp_path):
    assert os.waitstatus_to_exitcode(run("fail").status) == 1
    assert "ValueError: no" in (tmp_path / "log.txt").read_text()


def test_an_order_that_takes_too_long_is_ended(run):
    assert run("hang", timeout_s=0.5).ending is Ending.TIMED_OUT


def test_an_order_that_uses_too_much_memory_is_ended(run):
    assert run("allocate", memory_limit_mb=200).ending is Ending.OUT_OF_MEMORY


def test_an_orphan_in_a_session_of_its_own_is_counted_and_killed(run, pool):
    before = set(descendant_pids(os.getpid()))
    assert run("leave").left_behind == 1
    names = [Path(f"/proc/{pid}/comm").read_text() for pid in set(descendant_pids(os.getpid())) - before]
    assert "sleep\n" not in names


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="writes are confined on Linux only")
def test_writes_are_confined_to_the_given_folders(run, tmp_path):
    (tmp_path / "inside").mkdir()
    assert run("write", {"path": str(tmp_path / "inside" / "a")}, writable=(tmp_path / "inside",)).is_clean
    assert not run("write", {"path": str(tmp_path / "b")}, writable=(tmp_path / "inside",)).is_clean
    assert run("write", {"path": str(tmp_path / "b")}).is_clean


def test_environment_and_folder_are_those_of_pool_and_order(run, tmp_path):
    run("describe", environ={"PER_ORDER": "2"})
    assert (tmp_path / "log.txt").read_text() == f"{tmp_path} ['1', None, '2'] False True\n"


def test_modules_are_imported_before_the_process_is_forked(run, tmp_path):
    run("describe", modules=("colorsys",))
    assert (tmp_path / "log.txt").read_text().split()[-2:] == ["True", "True"]


def test_a_cancelled_pool_ends_its_orders_and_refuses_more(run, pool):
    import threading

    threading.Timer(0.5, pool.cancel).start()
    assert run("hang").ending is Ending.CANCELLED
    assert run("succeed", {"text": "x"}).ending is Ending.CANCELLED


def test_an_import_that_takes_too_long_is_an_error(run, orders):
    (orders / "slow.py").write_text("import time; time.sleep(300)")
    with pytest.raises(RunnerError, match="timed out after 0.5 s in the import of its module"):
        run("succeed", {"text": "x"}, modules=("slow",), timeout_s=0.5)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_everything_ends_when_the_driver_is_killed(orders, tmp_path):
    driver = subprocess.Popen([sys.executable, "-c", DRIVER], stdin=subprocess.PIPE, cwd=tmp_path)
    try:
        deadline = time.monotonic() + 60
        while len(started := list(descendant_pids(driver.pid))) < 4:  # server, template, supervisor, order
            assert time.monotonic() < deadline, started
            time.sleep(0.02)
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        driver.stdin.close()
    deadline = time.monotonic() + 20
    while remaining := [pid for pid in started if is_running(pid)]:
        assert time.monotonic() < deadline, remaining
        time.sleep(0.02)


FORKED = """
import os
from pathlib import Path
from mlops_core.processes.orders import Order
from mlops_core.processes.pool import ProcessPool

import colorsys

os.environ["REMOVED"] = "1"
with ProcessPool.forked_from_here():
    environ = {name: value for name, value in os.environ.items() if name != "REMOVED"}
    with ProcessPool(environ=lambda: {**environ, "CHANGED": "3"}) as pool:
        order = Order(function="orders:describe", arguments={}, cwd=Path.cwd(), timeout_s=60)
        report = pool.run(order, log=os.open("log.txt", os.O_CREAT | os.O_WRONLY))
print(report.is_clean, os.environ["REMOVED"])
"""


def test_fork_servers_can_be_forked_from_a_warm_process(orders, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FORKED], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "True 1\n"
    assert (tmp_path / "log.txt").read_text() == f"{tmp_path} ['3', None, None] True True\n"


def test_a_closed_pool_leaves_no_process(pool, run):
    others = set(child_pids(os.getpid()))  # of pools that tests of the same worker share
    run("succeed", {"text": "x"})
    pool.close()
    assert pool.wait(10) == 0
    deadline = time.monotonic() + 20
    while any("fork_server" in Path(f"/proc/{pid}/cmdline").read_text() for pid in {*child_pids(os.getpid())} - others):
        assert time.monotonic() < deadline
        time.sleep(0.02)
