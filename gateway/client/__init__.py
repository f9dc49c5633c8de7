"""The gateway's Python client, for scripts, notebooks, Streamlit pages and other services: `Client` and `AsyncClient`.

It needs httpx, pydantic and anyio, and imports nothing else of the gateway. The names in `__all__` are public.
"""

from gateway.client.async_chat import AsyncChat
from gateway.client.async_client import AsyncClient
from gateway.client.async_streams import AsyncEventStream, AsyncOutputStream, AsyncTextStream
from gateway.client.async_threads import AsyncThreads
from gateway.client.chat import Chat
from gateway.client.client import Client
from gateway.client.ending import RunResult
from gateway.client.errors import (
    AgentNotFound,
    BadRequest,
    ClientError,
    Conflict,
    Forbidden,
    Invalid,
    InvalidOutput,
    NoResult,
    NotFound,
    PromptTooLong,
    RateLimited,
    Refused,
    RunConflict,
    RunFailed,
    StreamExpired,
    StreamLost,
    ThreadExists,
    TurnRejected,
    Unauthenticated,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
    UnsuitableAgent,
)
from gateway.client.shapes import (
    AgentInfo,
    Branch,
    Deferred,
    Event,
    Message,
    ThreadInfo,
    ThreadSummary,
    ToolCall,
    Turn,
    Usage,
)
from gateway.client.streams import EventStream, OutputStream, TextStream
from gateway.client.threads import Threads

__all__ = [
    "AgentInfo",
    "AgentNotFound",
    "AsyncChat",
    "AsyncClient",
    "AsyncEventStream",
    "AsyncOutputStream",
    "AsyncTextStream",
    "AsyncThreads",
    "BadRequest",
    "Branch",
    "Chat",
    "Client",
    "ClientError",
    "Conflict",
    "Deferred",
    "Event",
    "EventStream",
    "Forbidden",
    "Invalid",
    "InvalidOutput",
    "Message",
    "NoResult",
    "NotFound",
    "OutputStream",
    "PromptTooLong",
    "RateLimited",
    "Refused",
    "RunConflict",
    "RunFailed",
    "RunResult",
    "StreamExpired",
    "StreamLost",
    "TextStream",
    "ThreadExists",
    "ThreadInfo",
    "ThreadSummary",
    "Threads",
    "ToolCall",
    "Turn",
    "TurnRejected",
    "Unauthenticated",
    "Unavailable",
    "UnexpectedAnswer",
    "Unreachable",
    "UnsuitableAgent",
    "Usage",
]
