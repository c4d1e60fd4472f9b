"""The files of a world: its layout, its listing, and the userland beneath."""
