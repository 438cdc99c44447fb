"""What a recipient and a slow name server cost at the door."""
