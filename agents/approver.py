"""An agent that pays only with consent: shows tool approval, with arguments that the approver may edit, and denial."""

import re
from collections.abc import Iterator
from typing import Annotated

from pydantic import Field
from pydantic_ai import Agent, DeferredToolRequests
from pydantic_ai.messages import ToolReturnPart

from agents.model import demo_model
from agents.script import Call, Say, Step, Think, Turn

PAYMENT = re.compile(r"(?P<amount>\d+(?:\.\d+)?)(?: ?(?P<currency>[A-Z]{3}))? to (?P<recipient>[A-Z]\w*(?: [A-Z]\w*)*)")


def script(turn: Turn) -> Iterator[Step]:
    """What the approver does when no real model is configured."""
    payments = [match.groupdict("EUR") for match in PAYMENT.finditer(turn.prompt)]
    if turn.results:
        yield Say("\n\n".join(_report(result) for result in turn.results))
    elif payments:
        yield Think("Money leaves only with consent, so I ask before I send anything.")
        yield from (Call("send_payment", {**payment, "amount": float(payment["amount"])}) for payment in payments)
    else:
        yield Say("Tell me what to send and to whom, for example: **pay 25 EUR to Bob**.")


def _report(result: ToolReturnPart) -> str:
    text = result.model_response_str(wrap_if_error=False)
    match result.outcome:
        case "success":
            return f"Done. {text}"
        case "denied":
            return f"Not sent, you declined. ({text})"
        case "interrupted":
            return "The payment was interrupted, so I cannot tell whether it was sent. Please look at your account."
        case "failed" | "retried":
            return f"Not sent, the payment failed: {text}"


agent = Agent(
    demo_model(script),
    name="approver",
    description="Sends (pretended) payments, each only after a person has approved it.",
    output_type=[str, DeferredToolRequests],
    instructions=(
        "You send payments with send_payment. A person approves, edits or declines each call, so call it as soon as "
        "you know the recipient and the amount, and do not ask for consent in text. Afterwards say what was really "
        "sent, as the receipt has it. When a payment was declined, say that nothing was sent; never try it again."
    ),
)


@agent.tool_plain(requires_approval=True)
def send_payment(
    recipient: Annotated[str, Field(min_length=1)], amount: Annotated[float, Field(gt=0)], currency: str = "EUR"
) -> str:
    """Send money and return the receipt."""
    return f"Receipt: {amount:.2f} {currency} sent to {recipient}."
