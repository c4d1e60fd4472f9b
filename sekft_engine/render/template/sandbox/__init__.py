"""Where chat templates run: foreign code, with little to reach and limits on what it may do."""
