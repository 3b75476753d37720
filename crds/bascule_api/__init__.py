"""The contract between users, operator and workers: resources, messages, names. Imports pydantic, nothing else."""
