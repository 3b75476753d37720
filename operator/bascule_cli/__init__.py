"""`bascule` and `kubectl bascule`."""
