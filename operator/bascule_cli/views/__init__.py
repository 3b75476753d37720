"""What is shown: pure functions from resources to text."""
