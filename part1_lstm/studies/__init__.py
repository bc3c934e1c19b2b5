"""What goes beyond the report: run each as `python -m studies.NAME` from the folder above."""
