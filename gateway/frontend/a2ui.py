"""A2UI: the tool with which an agent shows interfaces on the page, and what its model is told of it.

The arguments of `render_a2ui` describe components; the wires that speak AG-UI make surfaces of them while they are
being written (`wires/ag_ui/a2ui.py`). What the user does there comes back as the next message
(`wires/ag_ui/a2ui_action.py`).
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - a field's type
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic_ai import ModelRetry
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.tools import RunContext, Tool
from pydantic_ai.toolsets import FunctionToolset

from gateway.frontend.a2ui_catalogue import catalogue_for
from gateway.frontend.a2ui_surface import MAX_COMPONENTS, ROOT, Unfit, whole_surface
from gateway.frontend.a2ui_types import COMMON_TYPES
from gateway.frontend.client_input import client_input

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pydantic_ai.agent import AbstractAgent
    from pydantic_ai.toolsets import AbstractToolset

    from gateway.frontend.a2ui_catalogue import Catalogue
    from gateway.frontend.client_input import ClientInput

RENDER = "render_a2ui"
"""The name of the tool."""

ATTEMPTS = 3
"""How often the model may try."""

WHAT_IT_DOES = (
    "Shows the user an interface: cards, lists, forms, buttons. Use it where that serves better than text, and do not "
    "repeat in text what it shows. What the user does on it comes as the user's next message."
)
# Short: some models' servers refuse a tool's description of more than 1024 characters, and no other one.

GUIDE = f"""\
The components, as a flat list: one refers to another by its id, and none stands within another.
- Each has `id`, which no other one has, and `component`, its kind. Its properties stand beside those.
- The one with the id "{ROOT}" holds all others, directly or not; no component holds itself.
- Text, a label or a value is given as it is, or taken from `data`: {{"path": "/order/total"}}.
- To repeat a component for each item of a list in `data`, give `children` as
  {{"componentId": "row", "path": "/items"}}. In the component "row" and what it holds, paths are the item's:
  {{"path": "name"}}, without a slash before it.
- A field that the user may change has its `value` from `data`; given as it is, it cannot be changed.
- A button says what it means:
  "action": {{"event": {{"name": "confirm", "context": {{"total": {{"path": "/order/total"}}}}}}}}.
  The user's message holds the name, and the context with its values of that moment: name there every field of a form.
- Pictures and links only with addresses that you know to exist.

For example:
[{{"id": "{ROOT}", "component": "Column", "children": ["title", "name", "send"]}},
 {{"id": "title", "component": "Text", "text": "Sign up", "variant": "h3"}},
 {{"id": "name", "component": "TextField", "label": "Name", "value": {{"path": "/name"}}}},
 {{"id": "send", "component": "Button", "child": "send-text", "variant": "primary",
  "action": {{"event": {{"name": "sign_up", "context": {{"name": {{"path": "/name"}}}}}}}}}},
 {{"id": "send-text", "component": "Text", "text": "Send"}}] with the data {{"name": ""}}"""


@dataclass
class A2ui(AbstractCapability[Any]):
    """Lets an agent show interfaces (A2UI v0.9) in CopilotKit, or in another page that speaks AG-UI and draws them.

    Results of the agent's own tools that hold `{"a2ui_operations": [...]}` are shown, too.

        Agent(..., capabilities=[A2ui()])
    """

    catalogue: Mapping[str, Any] | None = None
    """The components there are: `{"catalogId": ..., "components": {name: JSON Schema}}`. The page's own when left out,
    which a CopilotKit page sends along; the basic ones of A2UI v0.9 where it sends none."""
    guidelines: str = ""
    """What else the model should know, such as how your interfaces look."""
    id: str | None = "a2ui"

    def get_toolset(self) -> Callable[[RunContext[Any]], AbstractToolset[Any]]:
        """See `AbstractCapability`."""
        return self._toolset

    def catalogue_for(self, page: ClientInput) -> Catalogue:
        """The catalogue of a run with what its page sent."""
        return catalogue_for(page, self.catalogue)

    def _toolset(self, ctx: RunContext[Any]) -> AbstractToolset[Any]:
        catalogue = self.catalogue_for(client_input(ctx))

        async def render(**arguments: Any) -> dict[str, Any]:
            try:
                surface = whole_surface(arguments, catalogue)
            except Unfit as unfit:
                raise ModelRetry(str(unfit)) from unfit
            return {"status": "rendered", "surfaceId": surface.id, "catalogId": surface.catalogue_id}

        schema = _schema("\n\n".join(filter(None, (GUIDE, _kinds(catalogue), self.guidelines))))
        return FunctionToolset([Tool[Any].from_schema(render, RENDER, WHAT_IT_DOES, schema)], max_retries=ATTEMPTS - 1)


def a2ui_of(agent: AbstractAgent[Any, Any], capabilities: Sequence[AbstractCapability[Any]] = ()) -> A2ui | None:
    """The capability of an agent that was given it by its author, or by its config: those are the `capabilities`."""
    found: list[AbstractCapability[Any]] = []
    for each in (*capabilities, agent.root_capability):
        each.apply(found.append)
    return next((each for each in found if isinstance(each, A2ui)), None)


def _kinds(catalogue: Catalogue) -> str:
    if not catalogue.told:
        return ""
    return f"The kinds of components, with their properties:\n{catalogue.told}\n\nTypes in these:\n{COMMON_TYPES}"


def _schema(guide: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "surfaceId": {"type": "string", "description": "A name for this interface, such as `order-form`."},
            "components": {
                "type": "array",
                "items": {"type": "object", "additionalProperties": True},
                "minItems": 1,
                "maxItems": MAX_COMPONENTS,
                "description": guide,
            },
            "data": {
                "type": "object",
                "additionalProperties": True,
                "description": "What paths refer to: values of fields to begin with, items of lists.",
            },
        },
        "required": ["surfaceId", "components"],
    }
