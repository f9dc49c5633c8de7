"""`python -m gateway` is the same as the console script `gateway`."""

from __future__ import annotations

from gateway.cli import main

if __name__ == "__main__":  # a reloader's child imports this module again
    main()
