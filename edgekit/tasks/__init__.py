"""Tasks: what goes in and what comes out."""

from edgekit.tasks.base import Drawable, Encoded, Result, Task, context_of, task_class, task_for

__all__ = ["Drawable", "Encoded", "Result", "Task", "context_of", "task_class", "task_for"]
