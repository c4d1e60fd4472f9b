"""A shell on a terminal in a world, whichever sandbox holds it."""
