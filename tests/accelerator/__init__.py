"""The paths of a card, run on a simulated one: see docs/gpu.md."""
