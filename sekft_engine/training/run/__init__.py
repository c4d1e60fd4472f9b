"""A training job: memory plan, session, checkpoints, trials, health."""
