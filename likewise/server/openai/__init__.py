"""OpenAI's API on our own: what the routes of pictures, texts, embeddings and media share.

Requests are translated into those of the native routes (requests.py) and done by the same queue.
"""
