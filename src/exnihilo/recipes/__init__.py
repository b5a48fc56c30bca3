"""Recipes: which stages, wired how; and the run that makes what is missing or stale."""
