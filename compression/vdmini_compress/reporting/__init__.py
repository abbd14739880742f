"""`report.html`: one self-contained page of one compression."""
