"""Train a table of recipes, or find a learning rate, on one load of the base."""
