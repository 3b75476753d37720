"""What runs inside a step's container, not in a worker: the standard library only, so that any image can hold it.

Only what measures gates needs more; it runs in the tools image.
"""
