"""How long tensors live, and where they may lie (specs/memory.md, specs/inplace.md)."""
