"""Screens that cover the panes: help, quit, details, set-up."""
