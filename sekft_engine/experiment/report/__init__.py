"""The report of an experiment: a page, and the same as markdown, from its own files."""
