"""The vocabulary: trajectories, scenarios, dialects, recipes, workspaces."""
