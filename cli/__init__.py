"""The command line of rsd: parse, call one function of rsd, print."""
