"""A real Kubernetes cluster on one Linux machine: no container engine, no virtual machine, nothing left behind."""
