"""Work in processes of its own: training, evaluation, and whatever reads data that a client has sent.

`child` is what such a process runs, `start` begins one and looks after it; the other modules are what is run there.
"""
