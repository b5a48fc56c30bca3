"""Generation and scoring with a trained model: sampling, batches, streams, conversations."""
