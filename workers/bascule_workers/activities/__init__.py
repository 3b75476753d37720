"""Single steps, each ending in bounded time and repeatable; what they need of the world is in `ports`."""
