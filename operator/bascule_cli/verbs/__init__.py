"""The verbs, one module per group: they read, ask, write and print."""
