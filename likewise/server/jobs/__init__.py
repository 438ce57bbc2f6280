"""Jobs: the store, the queue with its sampling thread, and how a request becomes work and work results; values in JSON and multipart."""
