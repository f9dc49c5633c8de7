"""A text -> data that fills in while the agent finds it."""

import streamlit as st
from connection import connect, errors_as_sentences, show_usage
from pydantic import BaseModel
from streamlit.delta_generator import DeltaGenerator

AGENT = "extractor"
EXAMPLE = "I am Grace Hopper, I work at Eckert Mauchly. Write to grace@example.com or call +1 555 010 2030."


class Contact(BaseModel):
    """What the agent finds. All fields have defaults, so that a contact that is not complete yet can be shown too."""

    name: str | None = None
    email: str | None = None
    phone: str | None = None
    company: str | None = None


def extract(text: str) -> None:
    """Ask, and show the contact while it fills in, then the one that the agent has validated."""
    card = st.empty()
    with connect().stream_output(AGENT, text, Contact) as stream:
        for contact in stream:
            show(card, contact, missing="…")
    show(card, stream.result, missing="not in the text")
    show_usage(stream.usage)


def show(card: DeltaGenerator, contact: Contact, missing: str) -> None:
    """The contact, in place of what the card showed before."""
    card.markdown("\n".join(f"- **{field}:** {value or missing}" for field, value in contact))


st.title("Structured output")
with st.form("extraction"):
    text = st.text_area("A text with somebody's contact data", EXAMPLE)
    wanted = st.form_submit_button("Extract")
if wanted:
    with errors_as_sentences():
        extract(text)
