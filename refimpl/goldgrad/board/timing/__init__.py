"""Cycles of a Cortex-M7 from what an emulator saw: a named model with an error band (specs/timing.md).

``pipeline.toml`` is the model: latencies, instructions and memory, a source a row.  ``table`` reads it, ``decode``
turns Thumb code into instructions with its rows, ``schedule`` issues them two at a time, ``edges`` says what an
emulator counts, ``cost`` makes cycles of that.
"""
