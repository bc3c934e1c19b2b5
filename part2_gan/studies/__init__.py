"""What goes beyond the report. From the part's folder: python -m studies.NAME, or torchrun -m studies.NAME."""
