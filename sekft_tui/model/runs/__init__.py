"""Runs of the workspace, as lists of them and panes beside them show them."""
