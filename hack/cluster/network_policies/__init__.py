"""Network policies: what the bridge between pods does not enforce is enforced on every node by its packet filter."""
