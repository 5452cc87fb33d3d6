"""The board: a program and the firmware become an ELF for the STM32F746, which emulators run and measure.

``build.build`` makes the ELF, ``emulators`` run it, ``board.Board`` talks to it through the mailbox,
``measure.measure`` says what a step costs (specs/measurement.md).
"""
