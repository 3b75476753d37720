"""One per kind: parse, observe, decide, apply. What the kinds that run have in common is in `runs`."""
