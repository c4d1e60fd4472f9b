"""The workbench: a thin Textual front end over the engine's jobs and events."""
