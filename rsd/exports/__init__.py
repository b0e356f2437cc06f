"""What leaves the lake for people: lists, notices, reports."""
