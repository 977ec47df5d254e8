"""Making of the embedded student: its voice, training, calibration and profile."""
