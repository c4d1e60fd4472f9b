"""A rendered trajectory for the eye: lines, views, pictures. Pure data; no widget, no terminal."""
