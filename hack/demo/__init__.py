"""The first story, on a real cluster: `make demo`."""
