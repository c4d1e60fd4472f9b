"""Checks of what only a GPU can show: ``python -m tests.gpu``, or ``make gpu``."""
