"""`gateway agents`: config -> a table of the agents, what they can call, and where front ends reach them."""

from __future__ import annotations

from gateway.cli.options import CONFIG_FILE, ConfigFile


def agents(*, config: ConfigFile = CONFIG_FILE) -> None:
    """List the agents with their tools and URLs."""
    from gateway.cli.console import columns, console  # noqa: PLC0415 - not for `--help`
    from gateway.cli.urls import surface_urls  # noqa: PLC0415
    from gateway.configfile import load  # noqa: PLC0415

    settings = load(config)
    from gateway.registry import Registry, tools_of  # noqa: PLC0415 - imports pydantic-ai

    table = columns("Agent", "Description", "Tools", "URLs")
    table.columns[0].no_wrap = table.columns[3].no_wrap = True  # half a URL is of no use
    for entry in Registry.build(settings).entries.values():
        tools = ", ".join(tool.name for tool in tools_of(entry.agent))
        urls = [url for surface in entry.surfaces for url in surface_urls(settings, entry.id, surface)]
        table.add_row(entry.id, entry.description, tools, "\n".join(urls))
    console().print(table)
