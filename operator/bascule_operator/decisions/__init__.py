"""Pure: what to do next, and what the status says. The clock is an argument."""
