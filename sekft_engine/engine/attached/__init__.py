"""Using the engine of another process: commands and the workbench as its clients."""
