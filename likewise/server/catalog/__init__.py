"""The models that are served: loaded and unloaded, and described by schemas."""
