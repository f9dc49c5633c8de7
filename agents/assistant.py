"""A chat agent with two tools: shows streamed text, reasoning before acting, parallel tool calls, files and history."""

import re
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from pydantic import BaseModel
from pydantic_ai import Agent, ModelRetry
from pydantic_ai.messages import ToolReturnPart

from agents.model import demo_model
from agents.script import Call, Say, Step, Think, Turn

SKIES = ("sunny", "cloudy", "rainy", "windy", "snowy")


class Weather(BaseModel):
    """Made-up weather: the same for a city on every day."""

    city: str
    celsius: int
    sky: str


def script(turn: Turn) -> Iterator[Step]:
    """What the assistant does when no real model is configured."""
    ask = turn.prompt.lower()
    calls: list[Call] = []
    if "weather" in ask:
        city = re.search(r"(?i:weather\b.*? (?:in|for|at)) (?!\w+/)([A-Z][\w-]+(?: [A-Z][\w-]+)*|[\w-]+)", turn.prompt)
        calls.append(Call("get_weather", {"city": city[1].title() if city else "Berlin"}))
    if re.search(r"\btime\b", ask):
        zone = re.search(r"\b[A-Z]\w+(?:/[A-Z]\w+)+", turn.prompt)
        calls.append(Call("current_time", {"zone": zone[0] if zone else "UTC"}))
    if turn.results:
        yield Say("\n\n".join(_report(result) for result in turn.results))
    elif calls:
        yield Think(f"That needs {' and '.join(call.tool for call in calls)}, so I look it up before I answer.")
        yield from calls
    elif turn.files:
        kind = "image" if all(file.startswith("image") for file in turn.files) else "file"
        plural = "" if len(turn.files) == 1 else "s"
        yield Say(f"I see {len(turn.files)} {kind}{plural} ({', '.join(turn.files)}).")
    elif re.search(r"\bfirst\b", ask) and re.search(r"\b(say|said|ask|asked|message)\b", ask):
        yield Say(f"The first thing you said was: “{turn.prompts[0]}”")
    elif count := re.search(r"\bcount to (\d{1,5})\b", ask):
        yield Say(" ".join(str(number) for number in range(1, int(count[1]) + 1)))
    else:
        if re.search(r"\b(think|why|reason)", ask):
            yield Think("Let me take that apart: what is known, what is asked, and what would answer it.")
        yield Say(f"You said: **{turn.prompt}**\n\nI am a demo without a language model. Try one of these:\n\n")
        yield Say("- What is the weather in Paris, and what time is it in Europe/Paris?\n- Why is the sky blue?\n")
        yield Say("- Count to 200\n- What did I say first?\n")


def _report(result: ToolReturnPart) -> str:
    if result.outcome != "success":
        return f"{result.tool_name} did not work: {result.model_response_str(wrap_if_error=False)}"
    value = result.model_response_object()
    if result.tool_name == "get_weather":
        return f"It is **{value['celsius']} °C** and {value['sky']} in {value['city']}."
    return f"It is **{result.model_response_str()}**."


agent = Agent(
    demo_model(script),
    name="assistant",
    description="Chats, tells the time and the (made-up) weather.",
    instructions=(
        "You are a friendly assistant. Answer briefly, in Markdown. Look up the weather and the time with your tools, "
        "in one go when both are asked for; never guess them. When files are attached, say what you see in them."
    ),
)


@agent.tool_plain
def get_weather(city: str) -> Weather:
    """The current weather in a city."""
    seed = zlib.crc32(city.casefold().encode())
    return Weather(city=city, celsius=seed % 40 - 5, sky=SKIES[seed % len(SKIES)])


@agent.tool_plain
def current_time(zone: str) -> str:
    """The date and time in an IANA time zone such as `Europe/Paris`, as ISO 8601."""
    try:
        return datetime.now(UTC if zone == "UTC" else ZoneInfo(zone)).isoformat(timespec="seconds")
    except (KeyError, ValueError) as error:  # ZoneInfo raises both: for an unknown name, and for one that is no name
        raise ModelRetry(f"There is no time zone {zone!r}; use an IANA name or UTC.") from error
