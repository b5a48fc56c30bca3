"""Experiments over recipes: does this setting help here, and how sure is that?"""
