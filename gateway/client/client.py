"""`Client`: a gateway's agents from scripts, notebooks and Streamlit pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, overload

import httpx

from gateway.client import calls, requests
from gateway.client.blocking import BlockingConnection, finished
from gateway.client.chat import Chat
from gateway.client.items import EventItems, OutputItems
from gateway.client.outgoing import LIMITS, ClientOptions, target
from gateway.client.outputs import ANYTHING, Outputs, OutputType
from gateway.client.reading import Reading
from gateway.client.streams import EventStream, OutputStream, TextStream
from gateway.client.threads import Threads

if TYPE_CHECKING:
    from types import TracebackType

    from gateway.client.ending import RunResult
    from gateway.client.requests import RunOptions, StreamOptions
    from gateway.client.shapes import AgentInfo

T = TypeVar("T")


class Client:
    """A client of a gateway that blocks. It has nothing to do with event loops, so it also works where one runs.

    May be used by several threads at a time; a stream by one, but for its `cancel`. All methods raise `ClientError`.

    Args:
        base_url: where the gateway is, such as `http://127.0.0.1:8000`.
        http: an httpx client to send requests with; its owner closes it. One of its own when left out.
        options: see `ClientOptions`.

    Raises:
        ValueError: `base_url` is no URL of a gateway.
    """

    def __init__(self, base_url: str, *, http: httpx.Client | None = None, **options: Unpack[ClientOptions]) -> None:
        destination = target(base_url, options)
        self._http, self._owns_http = http or httpx.Client(limits=LIMITS), http is None
        self._connection = BlockingConnection(self._http, destination)
        self.threads = Threads(self._connection)
        """The caller's conversations."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. Runs that are being read are broken off, not cancelled: leave their streams first."""
        if self._owns_http:
            self._http.close()

    def agents(self) -> list[AgentInfo]:
        """The agents that the caller may use."""
        return finished(calls.made(self._connection, calls.agents()))

    def agent(self, agent_id: str) -> AgentInfo:
        """One of them, with its capabilities. Raises `AgentNotFound`."""
        return finished(calls.made(self._connection, calls.agent(agent_id)))

    @overload
    def run(
        self, agent: str, prompt: str | None = None, *, output_type: None = None, **options: Unpack[RunOptions]
    ) -> RunResult[Any]: ...
    @overload
    def run(
        self, agent: str, prompt: str | None = None, *, output_type: OutputType[T], **options: Unpack[RunOptions]
    ) -> RunResult[T]: ...
    def run(
        self,
        agent: str,
        prompt: str | None = None,
        *,
        output_type: OutputType[Any] | None = None,
        **options: Unpack[RunOptions],
    ) -> RunResult[Any]:
        """Ask an agent and wait for the whole answer; a connection that breaks meanwhile does not matter.

        Args:
            agent: its id.
            prompt: the question; may be left out with `approvals`, `results` or `messages`.
            output_type: what `output` is validated as; JSON data when left out.
            options: see `RunOptions`.

        Raises:
            RunFailed: the run ended with an error.
            InvalidOutput: the output does not fit `output_type`.
        """
        with self._outputs(requests.start(agent, "nodes", prompt, options), output_type, partial=False) as stream:
            return stream.finish()

    def stream_text(
        self, agent: str, prompt: str | None = None, *, delta: bool = True, **options: Unpack[StreamOptions]
    ) -> TextStream:
        """Ask an agent and read its text while it is written.

        Args:
            agent: its id.
            prompt: the question; may be left out with `approvals`, `results` or `messages`.
            delta: whether each item is only what is new; otherwise it is the whole text so far.
            options: see `StreamOptions`.
        """
        start = requests.start(agent, "text", prompt, {"delta": delta, **options})
        return TextStream(self._connection, Reading(self._connection, start), delta=delta)

    @overload
    def stream_output(
        self, agent: str, prompt: str | None = None, output_type: None = None, **options: Unpack[StreamOptions]
    ) -> OutputStream[Any]: ...
    @overload
    def stream_output(
        self, agent: str, prompt: str | None, output_type: OutputType[T], **options: Unpack[StreamOptions]
    ) -> OutputStream[T]: ...
    def stream_output(
        self,
        agent: str,
        prompt: str | None = None,
        output_type: OutputType[Any] | None = None,
        **options: Unpack[StreamOptions],
    ) -> OutputStream[Any]:
        """Ask an agent and read its structured output while it fills in.

        Args:
            agent: its id.
            prompt: the question; may be left out with `approvals`, `results` or `messages`.
            output_type: what items and `result` are validated as; JSON data when left out.
            options: see `StreamOptions`.
        """
        return self._outputs(requests.start(agent, "output", prompt, options), output_type)

    def stream_events(self, agent: str, prompt: str | None = None, **options: Unpack[StreamOptions]) -> EventStream:
        """Ask an agent and read every event of the run: thinking, tool calls, results; see `stream_text`."""
        start = requests.start(agent, "events", prompt, options)
        return EventStream(self._connection, Reading(self._connection, start), EventItems())

    def chat(self, session_id: str, agent: str) -> Chat:
        """A conversation that the gateway keeps, by an id of the caller's choice; made by its first message."""
        return Chat(self._connection, session_id, agent)

    def cancel(self, run_id: str) -> bool:
        """Stop a run, whoever reads it. Whether there was something to stop."""
        return finished(calls.made(self._connection, calls.cancel(run_id)))

    def _outputs(
        self, start: requests.Request, output_type: OutputType[Any] | None, *, partial: bool = True
    ) -> OutputStream[Any]:
        items = OutputItems(Outputs(output_type or ANYTHING), partial=partial)
        return OutputStream(self._connection, Reading(self._connection, start), items)
