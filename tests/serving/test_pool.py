"""The worker pool: every wait has an end, whatever a worker does while it starts, answers or ends."""

import asyncio
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from mlops_core.errors import ExitCode
from mlops_core.serving.batch.answers import BatchWorkers, file_request
from mlops_core.serving.models import ServedModel
from mlops_core.serving.workers import pool as pools
from mlops_core.serving.workers import process

HERE = Path(__file__).parent


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A model of ECHO."""
    for place in (HERE / "echo", HERE.parent / "toy"):
        monkeypatch.syspath_prepend(str(place))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.txt").write_text("echo")
    return ServedModel(use_case="ECHO", folder=folder, label="echo")


def test_the_pool_ends_though_a_worker_becomes_ready_just_then(served, monkeypatch):
    """A cancellation that meets a reply must not be lost; nothing would wake the one who waits."""
    ended = asyncio.Event()

    async def run():
        pool = pools.WorkerPool(served, size=1, max_waiting=1, on_failure=lambda *_: None)
        ask = pools.WorkerProcess.ask

        async def ask_and_stop(worker, message):
            reply = await ask(worker, message)
            asyncio.get_running_loop().call_soon(lambda: tasks.append(asyncio.ensure_future(stop())))
            return reply

        async def stop():
            await pool.stop()
            ended.set()

        tasks = []
        monkeypatch.setattr(pools.WorkerProcess, "ask", ask_and_stop)
        pool.start()
        async with asyncio.timeout(120):
            await ended.wait()

    asyncio.run(run())
    assert ended.is_set()


def outcome_of(served, *, is_tolerant):
    """Start a pool of one worker, and return the line and the code with which it gives up."""

    async def run():
        failure = asyncio.get_running_loop().create_future()
        pool = pools.WorkerPool(
            served,
            size=1,
            max_waiting=1,
            on_failure=lambda line, code: failure.done() or failure.set_result((line, code)),
            is_tolerant=is_tolerant,
        )
        pool.start()
        ready = asyncio.ensure_future(pool.first_ready.wait())
        try:
            async with asyncio.timeout(120):
                await asyncio.wait({ready, failure}, return_when=asyncio.FIRST_COMPLETED)
            return failure.result() if failure.done() else pool.replaced
        finally:
            ready.cancel()
            await pool.stop()

    return asyncio.run(run())


@pytest.mark.parametrize("is_tolerant", [False, True])
def test_workers_that_do_not_become_ready_are_replaced_until_the_pool_gives_up(served, monkeypatch, is_tolerant):
    monkeypatch.setattr(pools, "_START_S", 0.4)
    (served.folder / "stuck").write_text("9")
    expected = "a worker process has not loaded the model after 0.4 s; so did the 2 before it"
    assert outcome_of(served, is_tolerant=is_tolerant) == (expected, ExitCode.STEP)


def test_one_worker_that_does_not_become_ready_is_replaced(served, monkeypatch):
    """The first one cannot load the model, however long it takes; the one after it can."""
    kill = pools.WorkerProcess.kill

    def kill_and_release(worker):
        kill(worker)
        pools._START_S = 60.0
        (served.folder / "released").touch()

    (served.folder / "model.txt").write_text("echo held")
    monkeypatch.setattr(pools, "_START_S", 0.2)
    monkeypatch.setattr(pools.WorkerProcess, "kill", kill_and_release)
    assert outcome_of(served, is_tolerant=False) == 1


def test_a_worker_whose_child_holds_its_socket_open_is_seen_to_end(served):
    (served.folder / "model.txt").write_text("orphaning")
    line, code = outcome_of(served, is_tolerant=False)
    assert (line, code) == ("a worker process was ended by SIGKILL while it loaded the model", ExitCode.STEP)


def test_a_worker_that_cannot_be_started_ends_the_pool_with_a_line(served, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    line, code = outcome_of(served, is_tolerant=True)
    assert line.startswith("a worker process cannot be started or watched: FileNotFoundError")
    assert code == ExitCode.STEP


def test_a_removed_model_is_not_blamed_on_the_plugin(served):
    """A worker that takes the place of another one finds no model; the request that waits for it is refused."""
    removed = replace(served, folder=served.folder / "gone" / "model")

    async def run():
        failure = asyncio.get_running_loop().create_future()
        pool = pools.WorkerPool(
            removed, size=1, max_waiting=1, on_failure=lambda line, code: failure.set_result((line, code))
        )
        pool.loaded = pools.LoadedModel(classes=(), content_types=(), load_s=0.0)
        waiting = asyncio.ensure_future(pool.submit({}, deadline=time.monotonic() + 120))
        pool.start()
        async with asyncio.timeout(120):
            found = await failure
            refused = (await asyncio.gather(waiting, return_exceptions=True))[0]
        await pool.stop()
        return found, refused

    (line, code), refused = asyncio.run(run())
    where = served.folder / "gone"
    assert line == f"ECHO echo has disappeared: something removed or moved {where} while the model was served"
    assert code == ExitCode.STEP
    assert str(refused) == "the server is stopping; send the request again"


def test_a_worker_that_answers_no_more_is_killed_and_replaced(served, tmp_path, monkeypatch):
    """It has closed its socket, but its process goes on."""
    monkeypatch.setattr(process, "_GRACE_S", 0.1)
    files = [tmp_path / f"{name}.bin" for name in ("a", "b", "c")]
    for path, content in zip(files, (b"x", b"hang up", b"y"), strict=True):
        path.write_bytes(content)

    async def run():
        async with asyncio.timeout(120), BatchWorkers(served, size=1) as workers:
            requests = [file_request(path, name=path.name, kind="application/jsonlines") for path in files]
            return [answer async for answer in workers.answers(requests)]

    first, second, third = asyncio.run(run())
    assert first.samples == third.samples == 1
    assert second.fault.startswith("b.bin ended its worker process 2 times")


def test_a_worker_that_becomes_free_as_time_runs_out_is_not_lost(served):
    """The request is refused, and the next one gets the worker."""

    class Free:
        is_usable = True

    async def run():
        pool = pools.WorkerPool(served, size=1, max_waiting=1, on_failure=lambda *_: None)
        worker = Free()
        taking = asyncio.ensure_future(pool._take(time.monotonic() + 0.05))
        await asyncio.sleep(0)
        time.sleep(0.1)  # noqa: ASYNC251  the time is over when the loop goes on
        pool._give_back(worker)
        await asyncio.wait({taking})
        got = taking.exception() is None
        return got or await pool._take(time.monotonic() + 5) is worker

    assert asyncio.run(run())
