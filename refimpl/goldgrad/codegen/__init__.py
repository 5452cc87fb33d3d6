"""A planned training graph becomes a C program (specs/program.md): one arena, a call of a kernel a node, no library."""

from .program import generate, kernel_scratch

__all__ = ["generate", "kernel_scratch"]
