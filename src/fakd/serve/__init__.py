"""Student and teacher side by side in a browser."""
