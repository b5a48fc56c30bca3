"""Examples that are made: questions and answers about Python by asking Python."""
