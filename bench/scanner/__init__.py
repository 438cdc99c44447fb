"""What the scanner costs, beside bare qmail and beside other scanners. Run `python3 -m bench.scanner`."""
