"""Steps at a node itself (securityProfile Host): the node's processes are visible, and its root is at /host.

The standard library only, like everything that runs in a step's container.
"""
