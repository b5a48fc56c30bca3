"""What a model is trained for: objectives turn a model and a batch into a summed loss and its weight."""
