"""The loss of each trained token, before and after a run."""
