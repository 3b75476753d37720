"""The operator: watches resources, decides, starts runs, and tells their status."""
