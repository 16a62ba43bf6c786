"""The conversion zoo: many architectures, each to both formats, against the original."""
