"""Connections to the two banks: the API server and Temporal. Errors of their clients end here."""
