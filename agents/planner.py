"""An agent that shares its state with the front end: shows snapshots, deltas, tools of the page, and consent.

AG-UI clients get STATE_SNAPSHOT and STATE_DELTA events; AI SDK clients get the whole plan as a `data-plan` part.
"""

from typing import Literal

from ag_ui.core import BaseEvent, StateDeltaEvent, StateSnapshotEvent
from pydantic_ai import Agent, DeferredToolRequests, ModelRetry, RunContext, ToolReturn
from pydantic_ai.ui import StateDeps
from pydantic_ai.ui.vercel_ai.response_types import DataChunk

from agents.model import demo_model
from agents.plan import PLAN_NOW, Plan, PlanStep, script


def make_deps(_principal: object) -> StateDeps[Plan]:
    """Fresh dependencies for each run, because the state that the client sends is written into them."""
    return StateDeps(Plan())


agent = Agent(
    demo_model(script),
    name="planner",
    description="Writes a plan and keeps it up to date, together with the page that shows it.",
    deps_type=StateDeps[Plan],
    output_type=[str, DeferredToolRequests],
    instructions=(
        "You keep a plan with the user. Write it with write_plan, in three to seven short steps, then mark with "
        "mark_step what is being done. If you have a tool confirm_plan, call it then, and comment on the answer. "
        "Call delete_plan when the user wants the plan gone: they are asked for consent, so do not ask in text."
    ),
)


@agent.instructions
def current_plan(ctx: RunContext[StateDeps[Plan]]) -> str:
    """The plan as the client sent it."""
    return PLAN_NOW + ctx.deps.state.model_dump_json()


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


@agent.tool(sequential=True, requires_approval=True)
def delete_plan(ctx: RunContext[StateDeps[Plan]]) -> ToolReturn:
    """Throw the plan away."""
    plan = ctx.deps.state = Plan()
    return _show(plan, "The plan is gone.", StateSnapshotEvent(snapshot=plan.model_dump()))


def _show(plan: Plan, text: str, event: BaseEvent) -> ToolReturn:
    return ToolReturn(text, metadata=[event, DataChunk(type="data-plan", id="plan", data=plan.model_dump())])
