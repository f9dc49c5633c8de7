"""The gateway beside plain pydantic-ai adapters: same model, same machine, CPU of the server process."""
