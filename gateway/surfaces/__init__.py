"""The ways in: one file for each, with its routes. Surfaces share wires, never each other's routes."""
