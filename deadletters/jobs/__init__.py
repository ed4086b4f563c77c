"""What is done with many letters, step by step."""
