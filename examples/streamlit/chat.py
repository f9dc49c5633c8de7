"""A conversation with an agent. The gateway keeps it: the page asks for it whenever it is drawn, and stores nothing."""

from itertools import groupby
from uuid import uuid4

import streamlit as st
from connection import connect, errors_as_sentences, show_usage

from gateway.client import Chat, NotFound

AGENT = "assistant"

# How a run or a thread stands -> what to say about it; about the others the page says nothing.
OUTCOMES = {
    "running": "An answer is being written.",
    "cancelled": "This answer was stopped.",
    "waiting": "The agent waits for an approval, which this page does not know how to give.",
    "deferred": "The agent waits for an approval, which this page does not know how to give.",
}


def session_id() -> str:
    """The conversation's: from the URL, where a reload finds it, or from before a visit to another page."""
    known = st.query_params.get("session") or st.session_state.get("session")
    st.query_params["session"] = st.session_state["session"] = known or uuid4().hex
    return st.query_params["session"]


def forget() -> None:
    """Begin a new conversation."""
    st.query_params.clear()
    st.session_state.pop("session", None)


def stop(chat: Chat) -> None:
    """Stop the answer that is being written."""
    with errors_as_sentences():
        chat.stop()


def answer(chat: Chat, question: str) -> None:
    """Ask, and show the answer while it is written."""
    st.chat_message("user").markdown(question)
    with st.chat_message("assistant"):
        text, button = st.empty(), st.empty()
        button.button("Stop", on_click=stop, args=[chat])
        try:
            with chat.stream(question) as stream:
                # After a reset, what was written turned out not to be the answer: the next pieces take its place.
                for _, pieces in groupby(stream, key=lambda _: stream.resets):
                    text.write_stream(pieces)
        finally:
            button.empty()
        show_outcome(stream.outcome)
        show_usage(stream.usage)


def show_history(chat: Chat) -> None:
    """What was said so far."""
    for message in chat.history():
        st.chat_message(message.role).markdown(message.content)


def standing(chat: Chat) -> str | None:
    """How the conversation stands; `None` before its first question."""
    try:
        return connect().threads.get(chat.session_id).status
    except NotFound:
        return None


@st.fragment(run_every=1)
def wait_for_answer(chat: Chat) -> None:
    """Draw the page again when the answer is there. Another tab reads it, or this one did until it was interrupted."""
    with errors_as_sentences():
        if standing(chat) != "running":
            st.rerun()
        show_outcome("running")
        st.button("Stop", on_click=stop, args=[chat])


def show_outcome(outcome: str | None) -> None:
    """What there is to say about it."""
    if outcome in OUTCOMES:
        st.caption(OUTCOMES[outcome])


st.title("Chat")
st.sidebar.button("New conversation", on_click=forget)
chat = connect().chat(session_id(), AGENT)
question = st.chat_input("Ask something", submit_mode="disable")  # one at a time
with errors_as_sentences():
    outcome = standing(chat)  # before the history, which is then complete if no answer is being written
    show_history(chat)
    if question:
        answer(chat, question)
    elif outcome == "running":
        wait_for_answer(chat)
    else:
        show_outcome(outcome)
