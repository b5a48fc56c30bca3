"""Talking to trained models: in the terminal, and on a web page that shows every stage of a run side by
side."""
