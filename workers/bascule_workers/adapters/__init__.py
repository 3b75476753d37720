"""The world: Kubernetes, registries, cosign, git. The only modules that know HTTP and subprocesses."""
