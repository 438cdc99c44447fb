"""What a message is judged by: its parts' names and types, the rules, and the bounds of one judgement."""
