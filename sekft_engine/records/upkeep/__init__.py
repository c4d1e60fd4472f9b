"""What a user does with runs that have ended: titles, notes and tags for them, and the trash."""
