"""How the scanner is: counters, the doctor, and the paper's test messages."""
