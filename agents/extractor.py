"""An agent whose answer is data: shows structured output, validated, from free text."""

import re
from collections.abc import Iterator

from pydantic import BaseModel, Field
from pydantic_ai import Agent

from agents.model import demo_model
from agents.script import Call, Step, Turn

WORD = r"[A-ZÀ-Þ][\w'&-]*"
EMAIL = r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
PHONE = r"\+?\(?\d[\d ()./-]{5,}\d"


class Contact(BaseModel):
    """Contact data found in a text; what the text does not say stays null."""

    name: str | None = Field(default=None, description="the person's full name")
    email: str | None = Field(default=None, pattern=f"^{EMAIL}$")
    phone: str | None = Field(default=None, pattern=f"^{PHONE}$", description="as written in the text")
    company: str | None = Field(default=None, description="the organisation that the person works for")


def script(turn: Turn) -> Iterator[Step]:
    """What the extractor does when no real model is configured."""
    company = _find(rf"(?i:\b(?:at|works for|joined|company:)) ({WORD}(?: {WORD})*)", turn.prompt)
    rest = turn.prompt.replace(company, "") if company else turn.prompt
    contact = {
        "name": _find(rf"(?i:\b(?:contact|call|meet|am|is|name:|from:)) ({WORD}(?: {WORD})*)|({WORD} {WORD})", rest),
        "email": _find(f"({EMAIL})", turn.prompt),
        "phone": _find(f"({PHONE})", turn.prompt),
        "company": company,
    }
    yield Call(turn.output_tool, contact)


def _find(pattern: str, text: str) -> str | None:
    match = re.search(pattern, text)
    return next(filter(None, match.groups()), None) if match else None


agent = Agent(
    demo_model(script),
    name="extractor",
    description="Turns a text, such as a mail signature, into contact data.",
    output_type=Contact,
    instructions="Extract the contact data of the person in the text. Copy what is written, leave out what is not.",
)
