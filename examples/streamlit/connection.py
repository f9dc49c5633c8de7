"""What both pages need of the gateway's client."""

import os
from collections.abc import Generator
from contextlib import contextmanager

import streamlit as st

from gateway.client import Client, ClientError, Usage


def connect() -> Client:
    """The gateway at `GATEWAY_URL`, with the key in `GATEWAY_API_KEY` if it asks for one."""
    return _client(os.environ.get("GATEWAY_URL", "http://127.0.0.1:8000"), os.environ.get("GATEWAY_API_KEY"))


@st.cache_resource
def _client(url: str, api_key: str | None) -> Client:
    return Client(url, api_key=api_key)  # one for all sessions: several threads may use it at a time


@contextmanager
def errors_as_sentences() -> Generator[None]:
    """Show what goes wrong: the text of a client's error is made for users."""
    try:
        yield
    except ClientError as error:
        st.error(str(error))


def show_usage(usage: Usage | None) -> None:
    """What a run used."""
    if usage:
        cost = f" Cost: {usage.cost:.4f} USD." if usage.cost is not None else ""
        st.caption(f"Tokens: {usage.input_tokens} in, {usage.output_tokens} out. Tool calls: {usage.tool_calls}.{cost}")
