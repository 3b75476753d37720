"""What runs inside a step's container, not in a worker: the standard library only, so that any image can hold it."""
