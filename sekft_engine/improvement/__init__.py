"""Learning beyond imitation: sessions of the adapter itself, and preference pairs."""
