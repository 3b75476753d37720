"""What restores and probes inside a drill's namespace: the standard library, and programs of the image `postgres`."""
