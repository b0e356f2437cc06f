"""Bytes of a dump → reported passes, with every record accounted for."""
