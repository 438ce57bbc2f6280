"""The server: every model of a folder behind HTTP, for clients of OpenAI's API and for the studio.

`create_app` in app.py makes the application, `serve` in run.py runs it. One thread samples (queue.py), what is to
be kept is in SQLite (store.py), and every route is in a file of routes/. Needs `pip install likewise[serve]`.
"""
