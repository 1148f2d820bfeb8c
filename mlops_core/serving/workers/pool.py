"""The worker processes of a server: started, watched and replaced; requests wait for one in a bounded queue.

A worker that ends is replaced at once, and only the request that it was computing fails. When two have ended by
themselves within a minute, the pool gives up: the server ends, so that its supervisor starts a clean one. A
worker that computes longer than a request may take is killed and replaced; that does not count.

No wait is without an end: a worker that does not become ready in time is killed and replaced, a few times; one that
closes its socket and lives on is killed; whatever else keeps a worker from being started or watched ends the pool with
a line that says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections import deque
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from mlops_core.errors import ExitCode
from mlops_core.predictors import ContentType
from mlops_core.serving.refusals import RefusedRequestError, overloaded
from mlops_core.serving.workers.process import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from mlops_core.serving.models import ServedModel

_START_S = 600.0
_CRASH_WINDOW_S = 60.0
_CRASHES = 2
_LOST_WHILE_LOADING = 3
"""Workers in a row that are not ready in time, or end while they load, after which a pool gives up; one that is not
tolerant gives up at the first one that ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """What the workers report about the model that they have loaded.

    Attributes:
        classes: class names in the order of the scores; empty for a regression.
        content_types: of requests, the preferred one first.
        load_s: time that the first worker took to load and warm up.
        features: names of the numbers by which the model describes samples; empty if it does not.
    """

    classes: tuple[str, ...]
    content_types: tuple[ContentType, ...]
    load_s: float
    features: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerReply:
    """The reply of a worker to a request.

    Attributes:
        header: status, and what the log says about the answer.
        body: the answer.
        waited_s: time in the queue.
    """

    header: Mapping[str, Any]
    body: bytes
    waited_s: float


class WorkerPool:
    """The workers of one model.

    Attributes:
        size: number of workers.
        loaded: what they report; None until the first one is ready.
        replaced: number of workers that were replaced.
        first_ready: set when the first worker is ready.
    """

    def __init__(
        self,
        model: ServedModel,
        *,
        size: int,
        max_waiting: int,
        on_failure: Callable[[str, ExitCode], None],
        is_tolerant: bool = False,
    ) -> None:
        """Prepare a pool; `start` starts its workers.

        Args:
            model: what they load.
            size: number of workers.
            max_waiting: requests that may wait for a worker.
            on_failure: called with a line and an exit code when the pool cannot go on.
            is_tolerant: replace workers however often they end; the caller counts what ends them.
        """
        self.size = size
        self.loaded: LoadedModel | None = None
        self.replaced = 0
        self.first_ready = asyncio.Event()
        self._model = model
        self._order = {
            "use_case": model.use_case,
            "model": str(model.folder),
            "code": str(model.code or ""),
            "advice": model.advice,
        }
        self._max_waiting = max_waiting
        self._on_failure = on_failure
        self._idle: deque[WorkerProcess] = deque()
        self._waiters: deque[asyncio.Future[WorkerProcess]] = deque()
        self._ready: set[WorkerProcess] = set()
        self._keepers: list[asyncio.Task[None]] = []
        self._endings: set[asyncio.Task[None]] = set()
        self._crashes: deque[float] = deque(maxlen=_CRASHES)
        self._is_stopping = False
        self._is_tolerant = is_tolerant
        self._lost_while_loading = 0

    # --- State --------------------------------------------------------------------------------------------

    @property
    def ready(self) -> int:
        """Number of workers that have loaded the model."""
        return sum(worker.is_usable for worker in self._ready)

    @property
    def waiting(self) -> int:
        """Number of requests that wait for a worker."""
        return len(self._waiters)

    # --- Life ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the workers; each is replaced when it ends."""
        self._keepers = [asyncio.create_task(self._keep()) for _ in range(self.size)]

    async def stop(self) -> None:
        """End the workers; requests that still wait are refused."""
        self._is_stopping = True
        self._refuse_waiting()
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        await asyncio.gather(*self._endings, return_exceptions=True)

    def _refuse_waiting(self) -> None:
        """Refuse the requests that wait: no worker will take them."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(_stopping())

    async def _keep(self) -> None:
        """Start a worker, and another one whenever it has ended; end the pool if that cannot go on."""
        try:
            while not self._is_stopping and await self._accompany(await WorkerProcess.start()):
                self.replaced += 1
        except Exception as error:  # noqa: BLE001  nobody awaits this task, or would see it fail
            cause = f"{type(error).__name__}: {' '.join(str(error).split())}"
            self._fail(f"a worker process cannot be started or watched: {cause}; try fewer --workers")

    async def _accompany(self, worker: WorkerProcess) -> bool:
        """Accompany a worker from its start to its end; return whether another one is to take its place."""
        try:
            if not await self._introduce(worker):
                return False
            status = await worker.ended()
        finally:
            self._ready.discard(worker)
            with contextlib.suppress(ValueError):
                self._idle.remove(worker)
            self._endings.add(ending := asyncio.create_task(worker.end()))
            ending.add_done_callback(self._endings.discard)
            await asyncio.shield(ending)  # goes on if the pool stops in the meantime
        return worker.is_killed or not self._has_crashed_often(status)

    async def _introduce(self, worker: WorkerProcess) -> bool:
        """Let a worker load the model; return whether it is ready, or another one is to take its place."""
        try:
            async with asyncio.timeout(_START_S):  # wait_for would swallow a cancellation that meets the reply
                header, _ = await worker.ask(self._order)
        except TimeoutError:  # an OSError, too
            worker.kill()
            return self._may_try_again(f"has not loaded the model after {_START_S:g} s", is_tolerated=True)
        except (EOFError, OSError):
            ending = f"{_ending(await worker.ended())} while it loaded the model"
            return self._may_try_again(ending, is_tolerated=self._is_tolerant)
        if "failure" in header:
            removed = _removed_folder(self._model.folder)
            lost = f"{self._model} has disappeared: something removed or moved {removed} while the model was served"
            message, code = (header["failure"], ExitCode(header["code"])) if removed is None else (lost, ExitCode.STEP)
            self._fail(str(message), code)
            return False
        self.loaded = self.loaded or LoadedModel(
            classes=tuple(header["classes"]),
            content_types=tuple(ContentType(**each) for each in header["content_types"]),
            load_s=header["load_s"],
            features=tuple(header["features"]),
        )
        self._lost_while_loading = 0
        self._ready.add(worker)
        self.first_ready.set()
        self._give_back(worker)
        return True

    def _may_try_again(self, ending: str, *, is_tolerated: bool) -> bool:
        self._lost_while_loading += 1
        if is_tolerated and self._lost_while_loading < _LOST_WHILE_LOADING:
            return True
        times = f"; so did the {self._lost_while_loading - 1} before it" if self._lost_while_loading > 1 else ""
        self._fail(f"a worker process {ending}{times}")
        return False

    def _has_crashed_often(self, status: int) -> bool:
        if self._is_tolerant:
            return False
        now = time.monotonic()
        self._crashes.append(now)
        if len(self._crashes) < _CRASHES or now - self._crashes[0] > _CRASH_WINDOW_S:
            return False
        self._fail(
            f"{_CRASHES} worker processes ended within {_CRASH_WINDOW_S:g} s, the last one {_ending(status)}; the "
            "server's log shows the requests before"
        )
        return True

    def _fail(self, message: str, code: ExitCode = ExitCode.STEP) -> None:
        if self._is_stopping:
            return
        self._on_failure(message, code)
        if not self.ready:
            self._refuse_waiting()

    # --- Requests -----------------------------------------------------------------------------------------

    def check_capacity(self) -> None:
        """Refuse a request for which there is no room, before its body is read.

        Raises:
            RefusedRequestError: the queue is full, or no worker has loaded the model (503).
        """
        if self._is_stopping:
            raise _stopping()
        if self.loaded is None:
            raise overloaded("the model is being loaded; send the request again in a few seconds", retry_after_s=2)
        if not self._idle and len(self._waiters) >= self._max_waiting:
            raise overloaded(f"{len(self._waiters)} requests are waiting; send the request again later")

    async def submit(self, request: Mapping[str, Any], *, deadline: float) -> WorkerReply:
        """Let a worker answer a request.

        Args:
            request: what the worker is sent.
            deadline: when the answer must be there, as `time.monotonic` counts.

        Raises:
            RefusedRequestError: no room (503), no answer in time (503 or 504), or the worker ended (500).
        """
        self.check_capacity()
        begun = time.monotonic()
        worker = await self._take(deadline)
        waited_s = time.monotonic() - begun
        if time.monotonic() >= deadline:
            self._give_back(worker)
            raise _late()
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                header, body = await worker.ask(request)
        except TimeoutError:
            worker.kill()
            raise RefusedRequestError(
                HTTPStatus.GATEWAY_TIMEOUT, "the model did not answer in time; send a smaller request"
            ) from None
        except (EOFError, OSError):
            raise RefusedRequestError(
                HTTPStatus.INTERNAL_SERVER_ERROR,
                "the worker process ended while it computed this request; another one takes its place",
            ) from None
        except asyncio.CancelledError:
            worker.kill()
            raise
        self._give_back(worker)
        return WorkerReply(header=header, body=body, waited_s=waited_s)

    async def _take(self, deadline: float) -> WorkerProcess:
        while self._idle:
            worker = self._idle.popleft()
            if worker.is_usable:
                return worker
        waiter: asyncio.Future[WorkerProcess] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await waiter
        except (TimeoutError, asyncio.CancelledError) as error:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._give_back(waiter.result())  # a worker became free in the same moment
            if isinstance(error, TimeoutError):
                raise _late() from None
            raise
        finally:
            with contextlib.suppress(ValueError):
                self._waiters.remove(waiter)

    def _give_back(self, worker: WorkerProcess) -> None:
        if not worker.is_usable:
            return
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(worker)
                return
        self._idle.append(worker)


def _stopping() -> RefusedRequestError:
    return overloaded("the server is stopping; send the request again")


def _late() -> RefusedRequestError:
    return overloaded("no worker was free in time; send the request again later", retry_after_s=5)


def _removed_folder(folder: Path) -> Path | None:
    """Return the uppermost folder that is missing on the way to a folder; None where it is there."""
    return next((place for place in (*reversed(folder.parents), folder) if not place.exists()), None)


def _ending(status: int) -> str:
    if status >= 0:
        return f"ended with code {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"
