"""Statistics of rates: intervals, paired tests, and the power of an eval."""
