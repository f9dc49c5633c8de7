"""Four demo agents: chat, approval, shared state and structured output. They run without any API key."""
