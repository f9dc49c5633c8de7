"""The sections of `gateway.yaml` that say what a process is and what it shares: `server`, `stores`, `streams`."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator

from gateway.settings import PositiveInt, Seconds, Settings


class ServerSettings(Settings):
    """The process: where it listens, what it accepts, how it logs."""

    host: str = "127.0.0.1"
    """Address to listen on. Anything but a loopback address needs `auth`."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """Port to listen on; 0 lets the system choose."""
    workers: PositiveInt = 1
    """Worker processes; more than one needs stores that are shared."""
    max_body_bytes: PositiveInt = 10_000_000
    """Largest request body, in bytes."""
    max_prompt_chars: PositiveInt = 100_000
    """Most characters of new text in one turn, and of what a client says of its tools."""
    max_tool_result_chars: PositiveInt = 10_000
    """Most characters of a tool's result in the plain stream of events; what is longer is cut."""
    allowed_hosts: list[str] = []
    """Host names to answer for, `*.example.com` included. Empty: loopback names on a loopback bind, else every name."""
    trusted_proxies: list[str] = []
    """Addresses or networks of proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed."""
    root_path: Annotated[str, StringConstraints(pattern=r"^(/[^/].*[^/]|/[^/])?$")] = ""
    """Path prefix that a proxy strips, such as `/ai`; URLs in answers carry it."""
    heartbeat: Seconds = 15.0
    """Seconds of silence on a stream after which a comment keeps the connection open."""
    drain_timeout: Seconds = 30.0
    """Seconds that runs get to finish after a stop signal; new ones are refused meanwhile."""
    max_stream_seconds: Seconds | None = None
    """Seconds after which a stream breaks off so that its client resumes, for networks that cut long connections. Only
    streams whose clients can do that are cut: those of the AI SDK, the plain ones, and those of AG-UI where
    `on_disconnect` lets their runs go on."""
    log_format: Literal["auto", "console", "json"] = "auto"
    """How to log; `auto` is `console` on a terminal and `json` elsewhere."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe level to log."""

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: list[str]) -> list[str]:
        networks: list[str] = []
        for proxy in value:
            if proxy == "*":
                msg = "'*' would let every client choose its own address: name the proxies' addresses or networks"
                raise ValueError(msg)
            try:
                network = ipaddress.ip_network(proxy, strict=False)
            except ValueError:
                msg = "not an address or a network: write 10.0.0.7, 10.0.0.0/8 or fd00::/8"
                raise ValueError(msg) from None
            # Without the bits of a host, as in 10.0.0.1/8: uvicorn would take that for a name, and trust nobody.
            networks.append(str(network) if "/" in proxy else proxy)
        return networks

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the listener."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False


class StoreSettings(Settings):
    """Where things are kept, by URL."""

    conversations: str = "memory://"
    """Stored threads. `memory://`, `sqlite:///file.db` or `postgresql://user:password@host/name`."""
    streams: str = "memory://"
    """Frames of running and recent runs, and the locks of threads. `memory://` or `redis://host:port/db`."""
    limits: str = "memory://"
    """Counters of the rate limits. `memory://` or `redis://host:port/db`."""

    @field_validator("conversations")
    @classmethod
    def _databases_too(cls, value: str) -> str:
        return _known_scheme(value, {"memory", "sqlite", "postgresql"})

    @field_validator("limits", "streams")
    @classmethod
    def _redis_too(cls, value: str) -> str:
        return _known_scheme(value, {"memory", "redis", "rediss"})

    @property
    def in_memory(self) -> list[str]:
        """Names of the stores that other processes cannot see."""
        return [name for name in type(self).model_fields if getattr(self, name).startswith("memory:")]


def _known_scheme(url: str, known: set[str]) -> str:
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in known:
        choices = ", ".join(f"{name}://" for name in sorted(known))
        msg = f"not a store that this version has here: use {choices}"
        raise ValueError(msg)
    return url


class ThreadSettings(Settings):
    """Stored conversations."""

    keep_days: Annotated[float, Field(gt=0)] | None = None
    """Days after its last turn that a thread is deleted; kept for ever when left out."""
    approval_ttl: Seconds = 86_400.0
    """Seconds that a tool call which waits for a person can be approved; afterwards it can only be declined."""


class StreamSettings(Settings):
    """The frames of running and recent runs, and the locks of their threads."""

    keep: Seconds = 300.0
    """Seconds that a run's frames can be read again after its end."""
    max_run_frames: PositiveInt = 100_000
    """Frames that one run may produce."""
    max_run_bytes: PositiveInt = 32_000_000
    """Bytes that one run may produce."""
    max_total_bytes: PositiveInt = 512_000_000
    """Bytes of all runs that one process keeps; ended ones are let go first."""
    lease: Annotated[float, Field(ge=1, le=300)] = 10.0
    """Seconds after which the thread of a process that died is free, and its readers are told (`redis://`)."""
    retry: Seconds = 30.0
    """Seconds that frames wait for a stream store that cannot be reached before their run is ended."""
