"""Limits of what a client may send: bytes, pixels, lengths, counts and times. What is beyond is refused."""

from __future__ import annotations

MEGABYTE = 2**20

# ---- bytes of a request
MAX_JSON_BYTES = 32 * MEGABYTE
MAX_MULTIPART_BYTES = 64 * MEGABYTE  # of parts together, except uploads of data
MAX_UPLOAD_BYTES = 512 * MEGABYTE  # of an uploaded data set
MAX_MEDIA_BYTES = 32 * MEGABYTE  # of one picture, sound or clip
MAX_BYTES_IN_FLIGHT = 512 * MEGABYTE  # of all requests together, except uploads of data, which are on disk
BODY_TIMEOUT = 60.0  # seconds without a further byte of a body
MAX_MULTIPART_PARTS = 64  # fields and files of a form, each

# ---- pixels of a picture, before it is decoded
MAX_PIXELS = 4096 * 4096

# ---- lengths
MAX_NAME = 300  # characters of a name or an identifier
MAX_TEXT = 1_000_000  # characters of a text
MAX_METADATA_LENGTH = 512  # characters of a value of metadata
MAX_PATTERN = 20_000  # characters of a constraint
MAX_STOP_LENGTH = 1000  # characters of a stop string
MAX_JSON_DEPTH = 64  # of nested lists and objects

# ---- counts
MAX_N = 256  # samples of a request for each row
MAX_ROWS = 1024  # rows of a request
MAX_SAMPLES = 4096  # samples of a request, n times rows
MAX_STOPS = 16
MAX_SAMPLED_TOKENS = 32_768  # of a text that goes on beyond the context of its model
MAX_METADATA = 16  # entries of a client's own
MAX_COLUMNS = 1024  # values of a row
MAX_CHOICES = 1000  # of a constraint
MAX_PREVIEWS = 100  # of each sample
MAX_LISTED = 100  # entries of a page of a list
MAX_IN_FLIGHT = 1000  # requests at the same time, those that watch events among them

# ---- what is kept
MAX_FOREGROUND_JOBS = 1000  # finished jobs of API calls; the oldest are removed, those of the studio never

# ---- uploads of data
MAX_UNPACKED_FILES = 200_000  # of a .zip
MAX_UNPACKED_BYTES = 4096 * MEGABYTE
MAX_FIELD_BYTES = 1000  # of a field of the form beside the file
MAX_FILENAME = 255  # characters

# ---- processes
CHECK_SECONDS = 120.0  # to read a data set for its report
CHECK_MEMORY = 4096 * MEGABYTE
MAX_WAITING_CHECKS = 16
UNPACK_SECONDS = 300.0
UNPACK_MEMORY = 1024 * MEGABYTE
MAX_TRAININGS = 100  # trainings and evaluations that have not ended
PAUSE_SECONDS = 120.0  # that a training has to save itself
MAX_OPTIONS = 200  # of a training
MAX_CURVE_POINTS = 2000
