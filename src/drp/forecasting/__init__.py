"""What a recipe will take on given hardware, before anything runs: memory, hours, cost. Arithmetic over measured tables, no torch."""
