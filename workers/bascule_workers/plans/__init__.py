"""Pure planning: what to render, how to read what came back. No clock, no I/O."""
