"""The experiment: from worlds to a report, as one job that can be stopped anywhere."""
