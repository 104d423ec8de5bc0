"""Reading finished runs: tables and pictures."""
