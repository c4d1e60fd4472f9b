"""How much memory a run takes and how fast it may be, before it runs and without its weights."""
