"""Tasks: what goes in and what comes out."""

from edgekit.tasks.base import Result, Task, task_for

__all__ = ["Result", "Task", "task_for"]
