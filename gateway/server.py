"""A config -> serving processes: uvicorn with our logs, proxies and drain, and nothing taken from the environment.

Stock uvicorn closes its listeners at the first stop signal, waits for connections, and only then tells the app. Here
the app is told first, and the listeners stay open until the last run and the last response have ended: readiness is
seen to be false, a new turn gets an answer, and readers can still come back to a run that goes on (DESIGN law 1).
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import signal
import socket
import threading
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gateway.app import create_app
from gateway.registry import Registry
from gateway.stores import open_store
from gateway.telemetry import configure_logging, get_logger
from gateway.workers import Supervisor, die_of

if TYPE_CHECKING:
    from types import FrameType

    from starlette.types import Receive, Scope, Send

    from gateway.config import GatewayConfig, ServerSettings
    from gateway.manager import RunManager

log = get_logger("gateway.server")

BACKLOG = 2048
"""Connections that may wait to be accepted (uvicorn's own default)."""

TICK = 0.05
"""Seconds between two looks at what still streams."""

LAST_FRAMES = 1.0
"""Seconds beside `drain_timeout` in which readers get the frames that end their runs."""

EXIT_TIMEOUT = 5.0
"""Seconds after the drain in which toolsets close and threads end. What hangs longer is left behind."""


def serve(config: GatewayConfig) -> None:
    """Serve until a stop signal. A drained SIGTERM returns, SIGINT raises `KeyboardInterrupt`.

    Raises:
        ConfigError: for agents that do not build, and a conversation store that cannot be used.
        OSError: for an address that cannot be had.
    """
    configure_logging(config.server)
    if config.server.workers > 1:
        # What cannot be used is said once, here, and not by each worker again and again.
        Registry.build(config)
        asyncio.run(_try(config.stores.conversations))
        with _listener(config.server) as listener:
            _say_who_gets_in(config)
            patience = config.server.drain_timeout + LAST_FRAMES + EXIT_TIMEOUT
            Supervisor(_work, (config, listener), config.server.workers, patience).run(on_stop=listener.close)
    else:
        server = make_server(config)
        # Bound here, because uvicorn would log the error and end the process.
        with _listener(config.server) as listener:
            _say_who_gets_in(config)
            _run(server, listener)


async def _try(url: str) -> None:
    """Open the conversation store, and let go of it. Raises `ConfigError`."""
    store = open_store(url)
    try:
        await store.open()
    finally:
        await store.close()


def make_server(config: GatewayConfig) -> Server:
    """A server for `create_app(config)` that has not started yet."""
    return Server(config)


class Server(uvicorn.Server):
    """uvicorn, draining with open listeners.

    The first signal begins the drain, and the second has its usual effect at once. `should_exit = True` stops without
    waiting for runs: they are ended, and their readers told.
    """

    def __init__(self, config: GatewayConfig) -> None:
        settings = config.server
        self._gateway = create_app(config)
        self._runs: RunManager = self._gateway.state.runs
        self._drain_timeout = settings.drain_timeout
        self._owed: set[RequestResponseCycle] = set()
        """Requests that were here before the drain."""
        super().__init__(
            uvicorn.Config(
                self._app,
                interface="asgi3",
                http=HttpToolsProtocol,
                host=settings.host,
                port=settings.port,
                root_path=settings.root_path,
                lifespan="on",
                log_config=None,
                access_log=False,
                # Our own middleware reads forwarding headers; uvicorn would trust every local process by default.
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=1,  # for what was broken off to unwind; the drain comes before
            )
        )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's
        """Begin the drain, or end the process. Called between any two instructions: takes no lock, so does not log."""
        if self._captured_signals:
            self.insist(sig)
        self._captured_signals.append(sig)
        self._runs.draining = True
        self.should_exit = True

    def insist(self, sig: int) -> None:
        """What a second signal does."""
        die_of(sig)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the app and the listeners. Raises `ConfigError`."""
        # Here too, because uvicorn shows whatever the app's lifespan raises as a traceback, and ends the process.
        await self._runs.threads.store.open()
        await super().startup(sockets)
        host, port, *_ = self.servers[0].sockets[0].getsockname()
        log.info("serving", host=host, port=port, pid=os.getpid())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain; then what uvicorn does: close listeners and connections, and shut the app down."""
        signals = self._captured_signals
        await self._drain(self._drain_timeout if signals else 0.0)
        if signals:
            _exit_anyway(0 if signals[0] == signal.SIGTERM else 128 + signals[0])
        await super().shutdown(sockets)
        # uvicorn raises what it captured, once more. A SIGTERM that was obeyed to the end is a success to every
        # orchestrator, and to PID 1 of a container the signal would do nothing; shells want to know of a SIGINT.
        self._captured_signals = [sig for sig in signals if sig != signal.SIGTERM]

    async def _drain(self, seconds: float) -> None:
        clock = asyncio.get_running_loop().time
        self._runs.draining = True
        self._owed = {cycle for cycle in map(_cycle, self._connections()) if cycle and not cycle.response_complete}
        # Kept alive connections are given up with their next answer, so that their clients look for another process.
        self.config.encoded_headers.append((b"connection", b"close"))
        await self.on_tick(0)
        log.info("draining", seconds=seconds, runs=self._runs.running, responses=len(self._busy()))
        deadline = clock() + seconds
        while (left := deadline - clock()) > -LAST_FRAMES:
            # Again and again, because a turn that was waiting for its thread may have become a run meanwhile.
            await self._runs.drained(max(left, 0.0))
            if not self._busy():
                break
            await asyncio.sleep(TICK)
        for connection in (broken_off := self._busy()):
            # Never closed in an orderly way: a clean end would be taken for success. The response's task is told by
            # uvicorn that the client has gone.
            connection.transport.abort()
        log.info("drained", left=self._runs.running, broken_off=len(broken_off))

    def _connections(self) -> list[HttpToolsProtocol]:
        return [each for each in self.server_state.connections if isinstance(each, HttpToolsProtocol)]

    def _busy(self) -> list[HttpToolsProtocol]:
        """Connections that keep the drain waiting: not those of probes and refusals, which come as long as it lasts."""
        return [connection for connection in self._connections() if self._is_busy(connection)]

    def _is_busy(self, connection: HttpToolsProtocol) -> bool:
        cycle = _cycle(connection)
        if cycle is None or cycle.response_complete:
            return connection.transport.get_write_buffer_size() > 0
        return cycle.response_started or cycle in self._owed

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._gateway(scope, receive, send)
        except asyncio.CancelledError:
            # By uvicorn, at the very end, because it does not listen to its client's going. Not worth a traceback.
            if not self.should_exit:
                raise


class _WorkerServer(Server):
    """Ends in an orderly way however many signals come: a group's come twice, from outside and from the supervisor."""

    def insist(self, sig: int) -> None:
        """The supervisor kills a worker that must go at once."""


def _work(config: GatewayConfig, listener: socket.socket) -> None:
    """The life of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the supervisor says what to do
    configure_logging(config.server)
    threading.Thread(target=_follow_supervisor, daemon=True).start()
    _run(_WorkerServer(config), listener)


def _follow_supervisor() -> None:
    """Drain when the supervisor has died: nobody would ever stop this worker, or free its port."""
    if supervisor := multiprocessing.parent_process():
        supervisor.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _run(server: Server, listener: socket.socket) -> None:
    # What is there now stays for good: looking through it again would cost each run 0.4 to 1 ms.
    gc.freeze()
    gc.enable()
    server.run([listener])


def _exit_anyway(code: int) -> None:
    """End this process some time from now. A sync tool that blocks its thread would keep it for as long as it likes."""

    def leave() -> None:
        log.warning("left_behind", threads=[thread.name for thread in threading.enumerate() if not thread.daemon])
        os._exit(code)

    timer = threading.Timer(EXIT_TIMEOUT, leave)
    timer.daemon = True
    timer.start()


def _cycle(connection: HttpToolsProtocol) -> RequestResponseCycle | None:
    return connection.cycle  # none before the first request, though its type does not say so


def _listener(settings: ServerSettings) -> socket.socket:
    host = settings.host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, settings.port), family=family, backlog=BACKLOG)


def _say_who_gets_in(config: GatewayConfig) -> None:
    if not config.auth.configured:
        log.warning("anonymous", reason="no `auth` is configured; answering loopback host names only")
    elif config.auth.anonymous:
        log.warning("anonymous", reason="`auth.anonymous` is true: callers without credentials share one owner")
