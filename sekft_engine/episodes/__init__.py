"""Episodes: one operator in one world, how the session ended, and its verdict."""
