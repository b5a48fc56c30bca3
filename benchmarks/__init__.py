"""Side-by-side measurements against peers on this machine: `python -m benchmarks NAME [--quick]`."""
