"""Compression before conversion: channels are removed, the rest recovers by distillation from the original."""
