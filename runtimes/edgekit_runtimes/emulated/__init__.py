"""Boards that are not there: real ARM binaries under QEMU, to ask what a board will answer before there is one."""
