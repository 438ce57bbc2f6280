"""What every request and answer has: bodies with limits, errors in one shape, security, metrics, logs."""
