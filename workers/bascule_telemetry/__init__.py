"""What operator and workers tell about themselves, in one form: log lines and traces."""
