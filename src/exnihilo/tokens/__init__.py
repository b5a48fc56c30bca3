"""Token shards on disk, and the sources that cut them into training batches."""
