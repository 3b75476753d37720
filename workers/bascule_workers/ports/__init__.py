"""What activities need of the world, as Protocols that promise repeatability."""
