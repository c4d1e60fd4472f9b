"""Evaluations: subjects are run on scenarios, and their success rates reported."""
