"""The review of findings: states and transitions, events in a chain, deadlines in working days."""
