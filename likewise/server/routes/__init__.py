"""Routes: a module for each group, with a `router` that app.py includes."""
