"""An index of sessions on disk: opened at once, filtered, searched, followed."""
