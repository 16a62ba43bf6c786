"""One module a tool. ``ready(workspace, **options)`` imports what it needs and returns the work to be timed."""
