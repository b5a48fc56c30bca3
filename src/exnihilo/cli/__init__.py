"""The command line: a thin skin over recipes, stages and the other rooms."""
