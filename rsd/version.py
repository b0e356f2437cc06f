"""The version of rsd, in one place."""

VERSION = "0.1.0"
