"""Reducers from events to what the screens show."""
