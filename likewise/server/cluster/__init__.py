"""Sampling on a cluster of Ray: replicas compute the batches, everything else stays in the process of the server."""
