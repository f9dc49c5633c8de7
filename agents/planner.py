"""An agent that shares its state with the front end: shows snapshots, deltas and a tool that runs in the browser.

AG-UI clients get STATE_SNAPSHOT and STATE_DELTA events; AI SDK clients get the whole plan as a `data-plan` part.
"""

import re
from collections.abc import Iterator
from typing import Literal

from ag_ui.core import BaseEvent, StateDeltaEvent, StateSnapshotEvent
from pydantic import BaseModel
from pydantic_ai import Agent, ModelRetry, RunContext, ToolReturn
from pydantic_ai.ui import StateDeps
from pydantic_ai.ui.vercel_ai.response_types import DataChunk

from agents.model import demo_model
from agents.script import Call, Say, Step, Think, Turn


class PlanStep(BaseModel):
    """One step of a plan."""

    text: str
    status: Literal["todo", "doing", "done"] = "todo"


class Plan(BaseModel):
    """The state that the agent and the front end share."""

    goal: str = ""
    steps: list[PlanStep] = []


def make_deps(_principal: object) -> StateDeps[Plan]:
    """Fresh dependencies for each run, because the state that the client sends is written into them."""
    return StateDeps(Plan())


def script(turn: Turn) -> Iterator[Step]:
    """What the planner does when no real model is configured."""
    goal = re.sub(r"(?i)^(please )?((make|write) (me )?a )?plan (for )?", "", turn.prompt).strip(" .!")
    plan = {"goal": goal, "steps": [f"Decide what matters for {goal}", "Get everything ready", "Do it, then look back"]}
    last = turn.results[-1] if turn.results else None
    if not last and (step := re.search(r"(?i)\bstep (\d+) is done\b", turn.prompt)):
        yield Call("mark_step", {"number": int(step[1]), "status": "done"})
    elif not last:
        yield Think(f"“{goal}” becomes easy once it is cut into a few small steps.")
        yield Call("write_plan", plan)
    elif last.tool_name == "write_plan" and last.outcome == "success":
        yield Call("mark_step", {"number": 1, "status": "doing"})
    elif last.tool_name == "mark_step" and turn.result("write_plan") and "confirm_plan" in turn.tools:
        yield Say("Here is the plan. Do you agree?")
        yield Call("confirm_plan", plan)
    elif last.tool_name == "confirm_plan":
        text = last.model_response_str(wrap_if_error=False)
        refused = last.outcome != "success" or re.search(r"(?i)\b(no|not|false|reject|decline|cancel)", text)
        yield Say(f"You answered: {text}\n\n{'I keep it as a draft.' if refused else 'Then the plan stands.'}")
    else:
        yield Say(" ".join(result.model_response_str(wrap_if_error=False) for result in turn.results))


agent = Agent(
    demo_model(script),
    name="planner",
    description="Writes a plan and keeps it up to date, together with the page that shows it.",
    deps_type=StateDeps[Plan],
    instructions=(
        "You keep a plan with the user. Write it with write_plan, in three to seven short steps, then mark with "
        "mark_step what is being done. If you have a tool confirm_plan, call it then, and comment on the answer."
    ),
)


@agent.instructions
def current_plan(ctx: RunContext[StateDeps[Plan]]) -> str:
    """The plan as the client sent it; a plan is not part of the messages."""
    return f"The plan now: {ctx.deps.state.model_dump_json()}"


@agent.tool(sequential=True)
def write_plan(ctx: RunContext[StateDeps[Plan]], goal: str, steps: list[str]) -> ToolReturn:
    """Replace the plan."""
    plan = ctx.deps.state = Plan(goal=goal, steps=[PlanStep(text=text) for text in steps])
    return _show(plan, f"The plan has {len(steps)} steps.", StateSnapshotEvent(snapshot=plan.model_dump()))


@agent.tool(sequential=True)
def mark_step(ctx: RunContext[StateDeps[Plan]], number: int, status: Literal["todo", "doing", "done"]) -> ToolReturn:
    """Set the status of a step; the first step has number 1."""
    plan = ctx.deps.state
    if not 1 <= number <= len(plan.steps):
        raise ModelRetry(f"The plan has {len(plan.steps)} steps, so there is no step {number}.")
    plan.steps[number - 1].status = status
    patch = {"op": "replace", "path": f"/steps/{number - 1}/status", "value": status}
    return _show(plan, f"Step {number} is now “{status}”.", StateDeltaEvent.model_validate({"delta": [patch]}))


def _show(plan: Plan, text: str, event: BaseEvent) -> ToolReturn:
    return ToolReturn(text, metadata=[event, DataChunk(type="data-plan", id="plan", data=plan.model_dump())])
