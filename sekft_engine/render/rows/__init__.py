"""Render one session into token ids and its mask, and prove the mask."""
