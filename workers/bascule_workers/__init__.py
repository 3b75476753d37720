"""The workers: workflows, activities and the tools they use."""
