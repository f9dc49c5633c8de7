"""A plan, and what the planner says about it when no real model is configured."""

import re
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel

from agents.script import Call, Say, Step, Think, Turn

PLAN_NOW = "The plan now: "
"""In the instructions, before the plan as JSON: a plan is not part of the messages."""


class PlanStep(BaseModel):
    """One step of a plan."""

    text: str
    status: Literal["todo", "doing", "done"] = "todo"


class Plan(BaseModel):
    """The state that the agent and the front end share."""

    goal: str = ""
    steps: list[PlanStep] = []


def script(turn: Turn) -> Iterator[Step]:
    """What the planner does when no real model is configured."""
    last = turn.results[-1] if turn.results else None
    if not last:
        yield from _begin(turn)
    elif last.tool_name == "write_plan" and last.outcome == "success":
        yield Call("mark_step", {"number": 1, "status": "doing"})
    elif last.tool_name == "mark_step" and turn.result("write_plan") and "confirm_plan" in turn.tools:
        yield Say("Here is the plan. Do you agree?")
        yield Call("confirm_plan", _plan_for(turn.prompt))
    elif last.tool_name == "confirm_plan":
        text = last.model_response_str(wrap_if_error=False)
        refused = last.outcome != "success" or re.search(r"(?i)\b(no|not|false|reject|decline|cancel)", text)
        yield Say(f"You answered: {text}\n\n{'I keep it as a draft.' if refused else 'Then the plan stands.'}")
    elif last.tool_name == "delete_plan" and last.outcome == "denied":
        yield Say("Then I keep the plan.")
    else:
        yield Say(" ".join(result.model_response_str(wrap_if_error=False) for result in turn.results))


def _begin(turn: Turn) -> Iterator[Step]:
    """The first step of an answer."""
    which = re.search(r"(?i)\bshow\b.*\b(all|open|done)\b", turn.prompt)
    if step := re.search(r"(?i)\bstep (\d+) is done\b", turn.prompt):
        yield Call("mark_step", {"number": int(step[1]), "status": "done"})
    elif which and "show_steps" in turn.tools:
        yield Call("show_steps", {"which": which[1].lower()})
    elif re.search(r"(?i)\bdelete (the|my) plan\b", turn.prompt):
        yield Call("delete_plan", {})
    elif re.search(r"(?i)\bwhat is left\b", turn.prompt):
        now = turn.instructions.partition(PLAN_NOW)[2].partition("\n")[0]
        left = [step.text for step in Plan.model_validate_json(now).steps if step.status != "done"]
        yield Say("\n".join(["Left to do:\n", *(f"- {text}" for text in left)]) if left else "Nothing is left to do.")
    else:
        plan = _plan_for(turn.prompt)
        yield Think(f"“{plan['goal']}” becomes easy once it is cut into a few small steps.")
        yield Call("write_plan", plan)


def _plan_for(prompt: str) -> dict[str, Any]:
    goal = re.sub(r"(?i)^(please )?((make|write) (me )?a )?plan (for )?", "", prompt).strip(" .!")
    return {"goal": goal, "steps": [f"Decide what matters for {goal}", "Get everything ready", "Do it, then look back"]}
