"""What ``ampacity top`` shows: gathered from the API, drawn for a terminal."""
