"""What runs do, one module per kind; deterministic."""
