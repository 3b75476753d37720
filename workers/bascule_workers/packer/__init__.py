"""The Procedures `packer` and `packer-artifact-delete`. They run in an image with Packer, not in a worker."""
