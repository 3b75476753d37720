"""What Bascule costs, against what the servers beneath it can do on the same machine in the same run: `make bench`."""
