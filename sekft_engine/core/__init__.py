"""What everything may use: errors, files, text, processes, the machine."""
