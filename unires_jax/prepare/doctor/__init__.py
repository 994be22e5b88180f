"""`unires doctor`: what a folder of data holds, lacks, and has wrong."""
